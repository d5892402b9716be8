"""What STORE and the ingest of upstream flags share: reading the overlay, writing flags of many messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailcache.flags import FlagDelta, FlagSet
from mailcache.models import MutationKind
from mailcache.services.rows import execute, fetch_all, keyword_column

_PENDING = """
    SELECT message_id, add_flags, add_keywords, remove_flags, remove_keywords
    FROM mailcache_mutation
    WHERE account_id = %(account)s AND kind = %(kind)s AND message_id = ANY(%(messages)s)
    ORDER BY id
"""

_WRITE = """
    UPDATE mailcache_message AS message
    SET flags = input.flags, keywords = string_to_array(input.keywords, ' '), modseq = %(modseq)s
    FROM unnest(%(ids)s::bigint[], %(flags)s::smallint[], %(keywords)s::text[]) AS input (id, flags, keywords)
    WHERE message.id = input.id AND message.account_id = %(account)s
"""


def pending_deltas(*, account_id: int, message_ids: Sequence[int]) -> dict[int, FlagDelta]:
    """Return, by message, what clients changed that no read of the upstream contains yet (the overlay)."""
    parameters = {"account": account_id, "kind": MutationKind.STORE.value, "messages": list(message_ids)}
    deltas: dict[int, FlagDelta] = {}
    for message_id, add, add_keywords, remove, remove_keywords in fetch_all(_PENDING, parameters):
        delta = FlagDelta(add=FlagSet.of(add, add_keywords), remove=FlagSet.of(remove, remove_keywords))
        deltas[message_id] = deltas.get(message_id, FlagDelta()).then(delta)
    return deltas


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
