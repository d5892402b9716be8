"""Answers a query from what a snapshot knows of every message. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Protocol

from mailcache.flags import FlagSet
from mailcache.wire.number_set import SequenceSet
from search.query import All, And, HasFlag, HasKeyword, Not, Or, Query, Recent, SequenceNumbers, Uids


class Messages(Protocol):
    """The messages of a client's view, in the order of their sequence numbers (from 1)."""

    @property
    def uids(self) -> Sequence[int]:
        """UIDs, ascending."""

    @property
    def flag_indexes(self) -> Sequence[int]:
        """For each message, which of ``combinations`` it has."""

    @property
    def combinations(self) -> Sequence[FlagSet]:
        """The combinations of flags in use."""

    @property
    def recent_uid(self) -> int:
        """Messages from this UID on are recent."""


def match(query: Query, messages: Messages) -> list[int]:
    """Return the positions (from 0, ascending) of the messages that match."""
    return sorted(_match(query, messages))


def _match(query: Query, messages: Messages) -> set[int]:
    everything = range(len(messages.uids))
    match query:
        case All():
            return set(everything)
        case SequenceNumbers(numbers):
            return _numbered(numbers, len(messages.uids))
        case Uids(uids):
            return _with_uids(uids, messages.uids)
        case HasFlag(flag):
            wanted = {index for index, flags in enumerate(messages.combinations) if flags.system & flag}
            return _with_combination(wanted, messages)
        case HasKeyword(keyword):
            lower = keyword.lower()
            wanted = {
                index
                for index, flags in enumerate(messages.combinations)
                if any(name.lower() == lower for name in flags.keywords)
            }
            return _with_combination(wanted, messages)
        case Recent():
            return {position for position in everything if messages.uids[position] >= messages.recent_uid}
        case Not(key):
            return set(everything) - _match(key, messages)
        case And(keys):
            return _all_of(keys, messages)
        case Or(left, right):
            return _match(left, messages) | _match(right, messages)


def _all_of(keys: Sequence[Query], messages: Messages) -> set[int]:
    found = set(range(len(messages.uids)))
    for key in keys:
        found &= _match(key, messages)
        if not found:
            break
    return found


def _numbered(numbers: SequenceSet, count: int) -> set[int]:
    found: set[int] = set()
    for first, last in numbers.resolve(count).ranges:
        found.update(range(first - 1, min(last, count)))
    return found


def _with_uids(uids: SequenceSet, present: Sequence[int]) -> set[int]:
    found: set[int] = set()
    for first, last in uids.resolve(present[-1] if present else 0).ranges:
        found.update(range(bisect_left(present, first), bisect_right(present, last)))
    return found


def _with_combination(wanted: set[int], messages: Messages) -> set[int]:
    if not wanted:
        return set()
    return {position for position, index in enumerate(messages.flag_indexes) if index in wanted}
