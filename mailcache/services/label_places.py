"""Where a mailbox stands in an account whose mailboxes are labels (Gmail; field notes section 2, rows 1 and 6).

All messages are in All Mail, in Trash or in Spam; every other mailbox shows those of All Mail that have its label.
``\\Deleted`` marks a message in one mailbox there, and is not told to the upstream: with another setting of the user's
it would take the message out of all its mailboxes, or delete it for ever.
"""

from __future__ import annotations

from enum import Enum

from mailcache.errors import NoSuchMailbox
from mailcache.journal import LockedMailbox
from mailcache.models import Mailbox, MailboxRole

DRAFT_LABEL = "\\Draft"


class Place(Enum):
    """What a mailbox is."""

    LABEL = "it shows the messages of All Mail that have its label"
    ALL = "it is All Mail"
    OWN = "it has messages of its own, as mailboxes of other accounts do"


def place_of(locked: LockedMailbox) -> Place:
    """Return what a mailbox is."""
    if not locked.shares_messages:
        return Place.OWN
    if locked.label:
        return Place.LABEL
    return Place.ALL if locked.role == MailboxRole.ALL else Place.OWN


def is_mark_local(locked: LockedMailbox) -> bool:
    """True where ``\\Deleted`` is a mark of this mailbox alone, and of ours alone."""
    return place_of(locked) is not Place.OWN


def mailbox_with_role(account_id: int, role: MailboxRole) -> int | None:
    """Return the account's mailbox of a role, None where it has none."""
    rows = Mailbox.objects.present(account_id).filter(role=role, selectable=True, label="").order_by("pk")
    return rows.values_list("pk", flat=True).first()


def all_mail_of(account_id: int) -> int:
    """Return the mailbox in which messages with labels are; raises ``NoSuchMailbox`` where it is not here."""
    found = mailbox_with_role(account_id, MailboxRole.ALL)
    if found is None:
        raise NoSuchMailbox("All Mail is hidden from IMAP")
    return found
