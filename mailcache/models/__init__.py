"""The tables. Models hold fields, constraints and facts about one row; every write goes through ``mailcache.services``.

Every table of an account's data carries ``account`` and has it first in every unique constraint, so that the schema can
be distributed by account.
"""

from __future__ import annotations

from mailcache.models.accounts import OAUTH_METHODS, Account, AccountState, AuthMethod, BodyPolicy, TlsMode
from mailcache.models.audit import AuditEvent
from mailcache.models.changes import Change
from mailcache.models.contents import Content, Segment, SegmentState
from mailcache.models.latency import LATENCY_BOUNDS, ReplayLatency
from mailcache.models.leases import Lease, LeaseKind
from mailcache.models.mailboxes import Mailbox, MailboxRole
from mailcache.models.messages import Listing, Message, Remote
from mailcache.models.mutations import (
    CREATORS,
    LABEL_KINDS,
    MAILBOX_KINDS,
    TRANSFERS,
    UNSETTLED_STATES,
    Mutation,
    MutationKind,
    MutationState,
    ParkedCause,
)
from mailcache.models.oauth import OAuthGrant
from mailcache.models.sealing import SealingKey
from mailcache.models.users import AppPassword, User

__all__ = [
    "CREATORS",
    "LABEL_KINDS",
    "LATENCY_BOUNDS",
    "MAILBOX_KINDS",
    "OAUTH_METHODS",
    "TRANSFERS",
    "UNSETTLED_STATES",
    "Account",
    "AccountState",
    "AppPassword",
    "AuditEvent",
    "AuthMethod",
    "BodyPolicy",
    "Change",
    "Content",
    "Lease",
    "LeaseKind",
    "Listing",
    "Mailbox",
    "MailboxRole",
    "Message",
    "Mutation",
    "MutationKind",
    "MutationState",
    "OAuthGrant",
    "ParkedCause",
    "Remote",
    "ReplayLatency",
    "SealingKey",
    "Segment",
    "SegmentState",
    "TlsMode",
    "User",
]
