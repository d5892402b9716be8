"""The journal: how a mailbox is changed, and how the change becomes known.

Everything that changes a mailbox locks its row, writes its messages, and ends with ``write_change`` in the same
transaction. The lock makes commit order, UID order and modseq order one order; it is taken last and held briefly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import connection, transaction

from mailcache import wakeup
from mailcache.errors import NoSuchMailbox
from mailcache.generations import generation_table
from mailcache.wire.number_set import NumberSet

_NONE = NumberSet()

_LOCK = """
    SELECT mailbox.id, mailbox.account_id, mailbox.uidvalidity, mailbox.uidnext, mailbox.highestmodseq
    FROM mailcache_mailbox AS mailbox JOIN mailcache_account AS account ON account.id = mailbox.account_id
    WHERE mailbox.id = %(mailbox)s AND (%(user)s::bigint IS NULL OR account.user_id = %(user)s)
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


def lock_mailbox(mailbox_id: int, *, user_id: int | None = None) -> LockedMailbox:
    """Lock a mailbox; raises ``NoSuchMailbox`` when it does not exist or is not this user's."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, {"mailbox": mailbox_id, "user": user_id})
        row = cursor.fetchone()
    if row is None:
        raise NoSuchMailbox("no such mailbox")
    return LockedMailbox(*row)


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
