"""What STORE and the ingest of upstream flags share: reading the overlay, writing flags of many messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mailcache.flags import FlagDelta, FlagSet
from mailcache.journal import write_change
from mailcache.models import MutationKind
from mailcache.services.mailbox_locks import Locks
from mailcache.services.rows import count_changed, execute, fetch_all, keyword_column
from mailcache.wire.number_set import NumberSet

_PENDING = """
    SELECT message_id, add_flags, add_keywords, remove_flags, remove_keywords
    FROM mailcache_mutation
    WHERE account_id = %(account)s AND kind = %(kind)s AND message_id = ANY(%(messages)s)
      AND (settlement IS NULL OR settlement > %(settlements)s)
    ORDER BY id
"""

_WRITE = """
    UPDATE mailcache_message AS message
    SET flags = input.flags, keywords = string_to_array(input.keywords, ' '), modseq = %(modseq)s
    FROM unnest(%(ids)s::bigint[], %(flags)s::smallint[], %(keywords)s::text[]) AS input (id, flags, keywords)
    WHERE message.id = input.id AND message.account_id = %(account)s
"""


def pending_deltas(*, account_id: int, owners: Mapping[int, int], settlements: int = 0) -> dict[int, FlagDelta]:
    """Return what clients changed that no read of the upstream contains yet (the overlay).

    ``owners`` names, by message, what its changes are collected for: messages that share a Remote share their changes.
    What had settled when the account had counted ``settlements`` is left out: a read that began then contains it.
    """
    parameters = {"account": account_id, "kind": MutationKind.STORE.value, "messages": list(owners)}
    parameters["settlements"] = settlements
    deltas: dict[int, FlagDelta] = {}
    for message_id, add, add_keywords, remove, remove_keywords in fetch_all(_PENDING, parameters):
        delta = FlagDelta(add=FlagSet.of(add, add_keywords), remove=FlagSet.of(remove, remove_keywords))
        owner = owners[message_id]
        deltas[owner] = deltas.get(owner, FlagDelta()).then(delta)
    return deltas


@dataclass(frozen=True, slots=True)
class FlagChange:
    """A message (by row id), where clients see it, and its flags before and after."""

    message_id: int
    mailbox_id: int
    uid: int
    before: FlagSet
    after: FlagSet


def change_flags(locks: Locks, changes: Iterable[FlagChange]) -> None:
    """Write changed flags of messages and the journal of their mailboxes, which are locked."""
    by_mailbox: dict[int, list[FlagChange]] = {}
    for change in changes:
        by_mailbox.setdefault(change.mailbox_id, []).append(change)
    for mailbox_id, group in by_mailbox.items():
        locked = locks[mailbox_id]
        write_message_flags(
            account_id=locked.account_id,
            modseq=locked.modseq,
            flags={change.message_id: change.after for change in group},
        )
        write_change(
            locked,
            changed=NumberSet.from_numbers(change.uid for change in group),
            counters=count_changed((change.before, change.after) for change in group),
        )


def write_message_flags(*, account_id: int, modseq: int, flags: Mapping[int, FlagSet]) -> None:
    """Write the flags of messages (by row id) at ``modseq``; their mailbox is locked by the caller."""
    parameters = {
        "account": account_id,
        "modseq": modseq,
        "ids": list(flags),
        "flags": [int(value.system) for value in flags.values()],
        "keywords": keyword_column(flags.values()),
    }
    execute(_WRITE, parameters)
