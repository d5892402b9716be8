"""The journal: how a mailbox is changed, and how the change becomes known.

Everything that changes a mailbox locks its row, writes its messages, and ends with ``write_change`` in the same
transaction. The lock makes commit order, UID order and modseq order one order; it is taken last and held briefly.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import connection, transaction

from mailcache import wakeup
from mailcache.errors import NoSuchMailbox
from mailcache.generations import generation_table
from mailcache.wire.number_set import NumberSet

_NONE = NumberSet()

# Messages are shared only where labels are mailboxes; the few rows of the account's mailboxes tell.
_LOCK = """
    SELECT mailbox.id, mailbox.account_id, mailbox.uidvalidity, mailbox.uidnext, mailbox.highestmodseq,
           EXISTS (SELECT 1 FROM mailcache_mailbox AS other
                   WHERE other.account_id = mailbox.account_id AND other.label <> ''),
           mailbox.label, mailbox.role
    FROM mailcache_mailbox AS mailbox JOIN mailcache_account AS account ON account.id = mailbox.account_id
    WHERE mailbox.id = ANY(%(mailboxes)s)
      AND (%(user)s::bigint IS NULL OR (account.user_id = %(user)s AND mailbox.deleted_at IS NULL))
    ORDER BY mailbox.id
    FOR NO KEY UPDATE OF mailbox
"""

_WRITE = """
    WITH change AS (
        INSERT INTO mailcache_change (account_id, mailbox_id, modseq, appeared, changed, expunged)
        VALUES (%(account)s, %(mailbox)s, %(modseq)s, %(appeared)s, %(changed)s, %(expunged)s)
    )
    UPDATE mailcache_mailbox
    SET uidnext = %(uidnext)s, highestmodseq = %(modseq)s, messages = messages + %(messages)s,
        unseen = unseen + %(unseen)s, deleted = deleted + %(deleted)s, bytes = bytes + %(bytes)s
    WHERE id = %(mailbox)s
"""


@dataclass(frozen=True, slots=True)
class LockedMailbox:
    """A mailbox whose row is locked until the transaction ends."""

    id: int
    account_id: int
    uidvalidity: int
    uidnext: int
    highestmodseq: int
    shares_messages: bool
    """Messages of this account may be shown in several mailboxes (Gmail's labels)."""
    label: str
    role: str

    @property
    def modseq(self) -> int:
        """The modseq that this transaction's change gets."""
        return self.highestmodseq + 1


@dataclass(frozen=True, slots=True)
class CounterDelta:
    """What a change adds to the counters of its mailbox."""

    messages: int = 0
    unseen: int = 0
    deleted: int = 0
    bytes: int = 0

    def __add__(self, other: CounterDelta) -> CounterDelta:
        return CounterDelta(
            self.messages + other.messages,
            self.unseen + other.unseen,
            self.deleted + other.deleted,
            self.bytes + other.bytes,
        )


def lock_mailbox(mailbox_id: int, *, user_id: int | None = None) -> LockedMailbox:
    """Lock a mailbox; raises ``NoSuchMailbox`` when it does not exist or is not this user's."""
    return lock_mailboxes([mailbox_id], user_id=user_id)[mailbox_id]


def lock_mailboxes(mailbox_ids: Collection[int], *, user_id: int | None = None) -> dict[int, LockedMailbox]:
    """Lock mailboxes in the order of their ids; raises ``NoSuchMailbox`` unless all exist and are this user's.

    A transaction that locks several does so here, once: ``mailcache.services.mailbox_locks`` where it can tell which
    ones only when it has locked some.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, {"mailboxes": list(mailbox_ids), "user": user_id})
        locked = {row[0]: LockedMailbox(*row) for row in cursor.fetchall()}
    if len(locked) < len(set(mailbox_ids)):
        raise NoSuchMailbox("no such mailbox")
    return locked


def write_change(
    locked: LockedMailbox,
    *,
    appeared: NumberSet = _NONE,
    changed: NumberSet = _NONE,
    expunged: NumberSet = _NONE,
    uidnext: int | None = None,
    counters: CounterDelta | None = None,
) -> int:
    """Write what this transaction did to a locked mailbox, once, and announce it after COMMIT; returns the modseq."""
    counters = counters or CounterDelta()
    parameters: dict[str, Any] = {
        "account": locked.account_id,
        "mailbox": locked.id,
        "modseq": locked.modseq,
        "appeared": str(appeared),
        "changed": str(changed),
        "expunged": str(expunged),
        "uidnext": locked.uidnext if uidnext is None else uidnext,
        "messages": counters.messages,
        "unseen": counters.unseen,
        "deleted": counters.deleted,
        "bytes": counters.bytes,
    }
    with connection.cursor() as cursor:
        cursor.execute(_WRITE, parameters)
    transaction.on_commit(partial(announce, locked.id, locked.modseq))
    return locked.modseq


def announce(mailbox_id: int, modseq: int) -> None:
    """Make a committed change known: to this node at once, to the others when Redis is there."""
    generation_table().bump(mailbox_id)
    wakeup.publish(mailbox_id, modseq)


def announce_bodies(account_id: int) -> None:
    """Make known that bytes of an account's messages arrived, or turned out not to be had: somebody may wait."""
    generation_table().bump_bodies(account_id)
    wakeup.publish_arrival(account_id)
