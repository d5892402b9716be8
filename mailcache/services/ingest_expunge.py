"""Ingest of what is gone upstream."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, NamedTuple

from django.db import transaction

from mailcache.flags import FlagSet
from mailcache.journal import LockedMailbox, write_change
from mailcache.models import BodyPolicy, MutationKind, MutationState
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.overlay import let_go_of, show_followed
from mailcache.services.relink_contents import LEFTOVERS
from mailcache.services.rows import count_expunged, execute, fetch_all
from mailcache.wire.number_set import NumberSet

_GONE = """
    SELECT id FROM mailcache_remote
    WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s
      AND uidvalidity = %(uidvalidity)s AND uid = ANY(%(uids)s)
"""

_OWN = """
    SELECT id FROM mailcache_remote WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s
    ORDER BY id LIMIT %(limit)s
"""

_SHOWN_IN = """
    SELECT DISTINCT mailbox_id FROM mailcache_message WHERE account_id = %(account)s AND remote_id = ANY(%(remotes)s)
"""

# What was moved out of a mailbox that went with its messages, or cannot be named any more, was meant to be kept.
_MOVED_OUT = """
    UPDATE mailcache_mutation SET kind = %(copy)s
    WHERE account_id = %(account)s AND remote_id = ANY(%(remotes)s) AND kind = %(move)s AND state <> %(settled)s
"""

_MESSAGES = """
    DELETE FROM mailcache_message WHERE account_id = %(account)s AND remote_id = ANY(%(remotes)s)
    RETURNING mailbox_id, id, uid, flags, size, content_id
"""

# What was recognised as a copy was moved: the message that it is a copy of is gone.
_MOVED = """
    DELETE FROM mailcache_listing AS listing USING mailcache_message AS message
    WHERE listing.account_id = %(account)s AND listing.remote_id = message.remote_id
      AND message.account_id = %(account)s AND message.content_id = ANY(%(contents)s)
"""

# Content stays: it may be another message's too, and the collector decides when its bytes may go.
_REST = """
    WITH listing AS (
        DELETE FROM mailcache_listing WHERE account_id = %(account)s AND remote_id = ANY(%(remotes)s)
    )
    DELETE FROM mailcache_remote WHERE account_id = %(account)s AND id = ANY(%(remotes)s)
"""


_CONSTANTS = {
    "copy": MutationKind.COPY.value,
    "move": MutationKind.MOVE.value,
    "settled": MutationState.SETTLED.value,
}


class _Gone(NamedTuple):
    mailbox_id: int
    message_id: int
    uid: int
    flags: int
    size: int
    content_id: int | None


@transaction.atomic
def remove_messages(*, fence: Fence, mailbox_id: int, uidvalidity: int, uids: Collection[int]) -> int:
    """Remove the messages that the upstream no longer has under these UIDs; returns how many were here."""
    leases.check(fence)
    parameters = {"mailbox": mailbox_id, "uidvalidity": uidvalidity, "uids": list(uids)}
    return _remove(mailbox_id, _GONE, parameters)


@transaction.atomic
def remove_other_uidvalidities(*, fence: Fence, mailbox_id: int, uidvalidity: int, limit: int = 500) -> int:
    """Remove at most ``limit`` messages known under an earlier UIDVALIDITY; returns how many went.

    What a message whose bytes are under way may turn out to be stays (``relink_by_contents``).
    """
    leases.check(fence)
    where = {"mailbox": mailbox_id, "uidvalidity": uidvalidity, "limit": limit, "all_bodies": BodyPolicy.ALL.value}
    return _remove(mailbox_id, LEFTOVERS, where, keeps_moved=True)


def remove_own_messages(*, mailbox_id: int, limit: int) -> int:
    """Remove at most ``limit`` messages that have their Remote in this mailbox, in the caller's transaction."""
    return _remove(mailbox_id, _OWN, {"mailbox": mailbox_id, "limit": limit}, keeps_moved=True)


def _remove(mailbox_id: int, which: str, parameters: dict[str, Any], *, keeps_moved: bool = False) -> int:
    return with_locks([mailbox_id], partial(_remove_remotes, mailbox_id, which, parameters, keeps_moved=keeps_moved))


def _remove_remotes(mailbox_id: int, which: str, parameters: dict[str, Any], locks: Locks, *, keeps_moved: bool) -> int:
    """Remove Remotes with their messages, in all mailboxes that show these."""
    account_id = locks[mailbox_id].account_id
    remotes = [remote for remote, *_ in fetch_all(which, {**parameters, "account": account_id})]
    if not remotes:
        return 0
    where = {"account": account_id, "remotes": remotes}
    locks.require([shown_in for (shown_in,) in fetch_all(_SHOWN_IN, where)])
    if keeps_moved:
        execute(_MOVED_OUT, {**where, **_CONSTANTS})
    followed = let_go_of(account_id=account_id, remote_ids=remotes)
    locks.require(followed.values())
    gone = [_Gone(*row) for row in fetch_all(_MESSAGES, where)]
    execute(_REST, where)
    contents = [message.content_id for message in gone if message.content_id is not None]
    if contents:
        execute(_MOVED, {"account": account_id, "contents": contents})
    for shown_in in {message.mailbox_id for message in gone}:
        _tell(locks[shown_in], [message for message in gone if message.mailbox_id == shown_in])
    show_followed(account_id=account_id, followed=followed)
    return len(remotes)


def _tell(locked: LockedMailbox, gone: Sequence[_Gone]) -> None:
    write_change(
        locked,
        expunged=NumberSet.from_numbers(message.uid for message in gone),
        counters=count_expunged([FlagSet.of(message.flags) for message in gone], [message.size for message in gone]),
    )
