"""STORE: a client's change of flags (also the \\Seen that reading sets)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from mailcache.flags import FlagDelta, FlagSet
from mailcache.journal import LockedMailbox
from mailcache.models import MutationKind, MutationState
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.message_flags import FlagChange, change_flags
from mailcache.services.rows import execute, fetch_all
from mailcache.wire.number_set import NumberSet

_READ = """
    SELECT message.id, message.mailbox_id, message.uid, message.flags, message.keywords, message.remote_id
    FROM mailcache_message AS message
    JOIN unnest(%(first)s::bigint[], %(last)s::bigint[]) AS range (first, last)
      ON message.uid BETWEEN range.first AND range.last
    WHERE message.account_id = %(account)s AND message.mailbox_id = %(mailbox)s
"""

_TWINS = """
    SELECT message.id, message.mailbox_id, message.uid, message.flags, message.keywords, message.remote_id
    FROM mailcache_message AS message
    WHERE message.account_id = %(account)s AND message.remote_id = ANY(%(remotes)s)
      AND message.mailbox_id <> %(mailbox)s
"""

_ORIGINS = """
    SELECT id, mailbox_id FROM mailcache_remote WHERE account_id = %(account)s AND id = ANY(%(remotes)s)
"""

_QUEUE = """
    INSERT INTO mailcache_mutation (
        account_id, mailbox_id, message_id, kind, add_flags, add_keywords, remove_flags, remove_keywords,
        arguments, state, noted, attempts, next_try_at, last_error, created_at)
    SELECT %(account)s, mailbox_id, message_id, %(kind)s, %(add)s, %(add_keywords)s, %(remove)s, %(remove_keywords)s,
           '{}', %(state)s, '{}', 0, now(), '', now()
    FROM unnest(%(messages)s::bigint[], %(mailboxes)s::bigint[]) AS row (message_id, mailbox_id)
"""


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What a change of flags did: its modseq (None when it changed nothing) and the new flags by UID."""

    modseq: int | None = None
    changed: Mapping[int, FlagSet] = field(default_factory=dict)


class _Row(NamedTuple):
    message_id: int
    mailbox_id: int
    uid: int
    flags: FlagSet
    remote_id: int | None


def store_flags(*, user_id: int, mailbox_id: int, uids: NumberSet, delta: FlagDelta) -> StoreResult:
    """Change flags of messages of a user's mailbox and queue the change for replay, in one transaction.

    Other mailboxes that show the same messages change in the same transaction. UIDs that do not exist are ignored
    (RFC 3501 6.4.8); messages that have the flags already do not change. Raises ``NoSuchMailbox``.
    """
    return with_locks([mailbox_id], partial(_store, mailbox_id, uids, delta), user_id=user_id)


def _store(mailbox_id: int, uids: NumberSet, delta: FlagDelta, locks: Locks) -> StoreResult:
    locked = locks[mailbox_id]
    rows = [row for row in _read(locked, uids) if delta.apply(row.flags) != row.flags]
    if not rows:
        return StoreResult()
    twins = _read_twins(locked, rows)
    locks.require({row.mailbox_id for row in twins})
    change_flags(
        locks,
        [
            FlagChange(row.message_id, row.mailbox_id, row.uid, row.flags, delta.apply(row.flags))
            for row in rows + twins
        ],
    )
    _queue(locked, _lasting(locked, rows, twins), delta)
    return StoreResult(locked.modseq, {row.uid: delta.apply(row.flags) for row in rows})


def _read(locked: LockedMailbox, uids: NumberSet) -> list[_Row]:
    parameters = {
        "account": locked.account_id,
        "mailbox": locked.id,
        "first": [first for first, _ in uids.ranges],
        "last": [last for _, last in uids.ranges],
    }
    return _rows(fetch_all(_READ, parameters))


def _read_twins(locked: LockedMailbox, rows: Sequence[_Row]) -> list[_Row]:
    """Return the messages of other mailboxes that are the same as these."""
    if not locked.shares_messages:
        return []
    remotes = [row.remote_id for row in rows if row.remote_id is not None]
    return _rows(fetch_all(_TWINS, {"account": locked.account_id, "mailbox": locked.id, "remotes": remotes}))


def _rows(columns: Sequence[tuple[Any, ...]]) -> list[_Row]:
    return [
        _Row(message_id, mailbox_id, uid, FlagSet.of(flags, keywords), remote_id)
        for message_id, mailbox_id, uid, flags, keywords, remote_id in columns
    ]


def _lasting(locked: LockedMailbox, rows: Sequence[_Row], twins: Sequence[_Row]) -> Sequence[_Row]:
    """Return the messages to queue the change for: one for each message that was named.

    Of several that are the same it is the one in the mailbox where the upstream has it, because that one stays
    whatever becomes of the labels.
    """
    if not twins:
        return rows
    remotes = [row.remote_id for row in twins]
    origins = set(fetch_all(_ORIGINS, {"account": locked.account_id, "remotes": remotes}))
    lasting = {twin.remote_id: twin for twin in twins if (twin.remote_id, twin.mailbox_id) in origins}
    return [lasting.get(row.remote_id, row) for row in rows]


def _queue(locked: LockedMailbox, rows: Sequence[_Row], delta: FlagDelta) -> None:
    parameters = {
        "account": locked.account_id,
        "messages": [row.message_id for row in rows],
        "mailboxes": [row.mailbox_id for row in rows],
        "kind": MutationKind.STORE.value,
        "state": MutationState.PENDING.value,
        "add": int(delta.add.system),
        "add_keywords": sorted(delta.add.keywords),
        "remove": int(delta.remove.system),
        "remove_keywords": sorted(delta.remove.keywords),
    }
    execute(_QUEUE, parameters)
