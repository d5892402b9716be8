"""What the bulk statements of the services share: rows in, columns out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from mailcache.flags import FlagSet, SystemFlag
from mailcache.journal import CounterDelta

# A transaction holds its locks for as long as its rows take: callers hand over chunks of this many messages.
CHUNK_ROWS = 500


def fetch_all(statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def execute(statement: str, parameters: Mapping[str, Any]) -> int:
    """Run one statement and return how many rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)


def keyword_column(flags: Iterable[FlagSet]) -> list[str]:
    """Return keywords as a column for ``string_to_array(…, ' ')``: ``unnest`` takes no arrays of unequal length."""
    return [" ".join(sorted(value.keywords)) for value in flags]


def zone_minutes(moment: datetime) -> int:
    """Return how many minutes east of UTC a moment is told."""
    return (moment.utcoffset() or timedelta()) // timedelta(minutes=1)


def count_appeared(flags: Sequence[FlagSet], sizes: Iterable[int]) -> CounterDelta:
    """Return what messages with these flags and sizes add to the counters of their mailbox."""
    return CounterDelta(
        messages=len(flags),
        unseen=sum(not value.system & SystemFlag.SEEN for value in flags),
        deleted=sum(bool(value.system & SystemFlag.DELETED) for value in flags),
        bytes=sum(sizes),
    )


def count_expunged(flags: Sequence[FlagSet], sizes: Iterable[int]) -> CounterDelta:
    """Return what the disappearance of messages adds to the counters of their mailbox."""
    there = count_appeared(flags, sizes)
    return CounterDelta(-there.messages, -there.unseen, -there.deleted, -there.bytes)


def count_changed(changes: Iterable[tuple[FlagSet, FlagSet]]) -> CounterDelta:
    """Return what changes of flags, as pairs of before and after, add to the counters of their mailbox."""
    pairs = list(changes)
    before = count_appeared([pair[0] for pair in pairs], ())
    after = count_appeared([pair[1] for pair in pairs], ())
    return CounterDelta(unseen=after.unseen - before.unseen, deleted=after.deleted - before.deleted)
