"""STORE: a client's change of flags (also the \\Seen that reading sets)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db import transaction

from mailcache.flags import FlagDelta, FlagSet
from mailcache.journal import LockedMailbox, lock_mailbox, write_change
from mailcache.models import MutationKind, MutationState
from mailcache.services.message_flags import write_message_flags
from mailcache.services.rows import count_changed, execute, fetch_all
from mailcache.wire.number_set import NumberSet

_READ = """
    SELECT message.id, message.uid, message.flags, message.keywords
    FROM mailcache_message AS message
    JOIN unnest(%(first)s::bigint[], %(last)s::bigint[]) AS range (first, last)
      ON message.uid BETWEEN range.first AND range.last
    WHERE message.account_id = %(account)s AND message.mailbox_id = %(mailbox)s
"""

_QUEUE = """
    INSERT INTO mailcache_mutation (
        account_id, mailbox_id, message_id, kind, add_flags, add_keywords, remove_flags, remove_keywords,
        arguments, state, noted, attempts, next_try_at, last_error, created_at)
    SELECT %(account)s, %(mailbox)s, message_id, %(kind)s, %(add)s, %(add_keywords)s, %(remove)s, %(remove_keywords)s,
           '{}', %(state)s, '{}', 0, now(), '', now()
    FROM unnest(%(messages)s::bigint[]) AS row (message_id)
"""


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What a change of flags did: its modseq (None when it changed nothing) and the new flags by UID."""

    modseq: int | None = None
    changed: Mapping[int, FlagSet] = field(default_factory=dict)


@transaction.atomic
def store_flags(*, user_id: int, mailbox_id: int, uids: NumberSet, delta: FlagDelta) -> StoreResult:
    """Change flags of messages of a user's mailbox and queue the change for replay, in one transaction.

    UIDs that do not exist are ignored (RFC 3501 6.4.8); messages that have the flags already do not change. Raises
    ``NoSuchMailbox``.
    """
    locked = lock_mailbox(mailbox_id, user_id=user_id)
    changes: dict[int, tuple[FlagSet, FlagSet]] = {}
    written: dict[int, FlagSet] = {}
    for message_id, uid, flags, keywords in _read(locked, uids):
        before = FlagSet.of(flags, keywords)
        after = delta.apply(before)
        if after != before:
            changes[uid] = (before, after)
            written[message_id] = after
    if not changes:
        return StoreResult()
    write_message_flags(account_id=locked.account_id, modseq=locked.modseq, flags=written)
    _queue(locked, list(written), delta)
    modseq = write_change(locked, changed=NumberSet.from_numbers(changes), counters=count_changed(changes.values()))
    return StoreResult(modseq, {uid: after for uid, (_, after) in changes.items()})


def _read(locked: LockedMailbox, uids: NumberSet) -> list[tuple[int, int, int, list[str]]]:
    parameters = {
        "account": locked.account_id,
        "mailbox": locked.id,
        "first": [first for first, _ in uids.ranges],
        "last": [last for _, last in uids.ranges],
    }
    return [(row[0], row[1], row[2], row[3]) for row in fetch_all(_READ, parameters)]


def _queue(locked: LockedMailbox, message_ids: list[int], delta: FlagDelta) -> None:
    parameters = {
        "account": locked.account_id,
        "mailbox": locked.id,
        "messages": message_ids,
        "kind": MutationKind.STORE.value,
        "state": MutationState.PENDING.value,
        "add": int(delta.add.system),
        "add_keywords": sorted(delta.add.keywords),
        "remove": int(delta.remove.system),
        "remove_keywords": sorted(delta.remove.keywords),
    }
    execute(_QUEUE, parameters)
