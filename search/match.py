"""Answers a query from what a snapshot knows of every message. Pure.

A set of messages is one large integer with a byte (0 or 1) for each message: AND, OR and NOT of 100,000 messages are
single operations of the interpreter, and no key of a query costs a turn of Python for each message.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import chain, compress, starmap
from typing import Protocol

from mailcache.flags import FlagSet
from search.query import All, And, HasFlag, HasKeyword, ModSeq, Not, Or, Query, Recent, SequenceNumbers, Uids

# Combinations of flags that a byte can tell apart.
_BYTE = 256
# Up to this share of all messages, found ones are looked for rather than picked from the numbers of all.
_FEW = 1 / 50


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
    def modseqs(self) -> Sequence[int]:
        """For each message, the modseq of its last change."""

    @property
    def recent_uid(self) -> int:
        """Messages from this UID on are recent."""


def match(query: Query, messages: Messages) -> list[int]:
    """Return the positions (from 0, ascending) of the messages that match."""
    ranges = _ranges(query, messages)
    if ranges is not None:
        return list(chain.from_iterable(starmap(range, ranges)))
    count = len(messages.uids)
    found = _Matcher(messages).match(query).to_bytes(count, "little")
    hits = found.count(1)
    return _find_all(found) if hits < count * _FEW else list(compress(range(count), found))


def _find_all(found: bytes) -> list[int]:
    positions: list[int] = []
    position = found.find(1)
    while position >= 0:
        positions.append(position)
        position = found.find(1, position + 1)
    return positions


class _Matcher:
    """The sets that the keys of one query select among ``messages``."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._count = len(messages.uids)
        self._everything = int.from_bytes(b"\1" * self._count, "little")

    def match(self, query: Query) -> int:
        match query:
            case All() | SequenceNumbers() | Uids() | Recent():
                return self._in_ranges(_ranges(query, self._messages) or ())
            case HasFlag(flag):
                return self._with(lambda flags: bool(flags.system & flag))
            case HasKeyword(keyword):
                lower = keyword.lower()
                return self._with(lambda flags: any(name.lower() == lower for name in flags.keywords))
            case ModSeq(at_least):
                return int.from_bytes(bytes(modseq >= at_least for modseq in self._messages.modseqs), "little")
            case Not(key):
                return self._everything ^ self.match(key)
            case And(keys):
                return self._all_of(keys)
            case Or(left, right):
                return self.match(left) | self.match(right)

    def _all_of(self, keys: Sequence[Query]) -> int:
        found = self._everything
        for key in keys:
            found &= self.match(key)
            if not found:
                break
        return found

    def _in_ranges(self, ranges: Iterable[tuple[int, int]]) -> int:
        found = bytearray(self._count)
        for start, end in ranges:
            if start < end:
                found[start:end] = b"\1" * (end - start)
        return int.from_bytes(found, "little")

    def _with(self, has: Callable[[FlagSet], bool]) -> int:
        wanted = bytes(map(has, self._messages.combinations))
        if 1 not in wanted:
            return 0
        if len(wanted) <= _BYTE:
            return int.from_bytes(self._packed_indexes.translate(wanted.ljust(_BYTE, b"\0")), "little")
        return int.from_bytes(bytes(map(wanted.__getitem__, self._messages.flag_indexes)), "little")

    @cached_property
    def _packed_indexes(self) -> bytes:
        # Through an iterator: an array would give its memory, not its values.
        return bytes(iter(self._messages.flag_indexes))


def _ranges(query: Query, messages: Messages) -> list[tuple[int, int]] | None:
    """Return ranges of positions (from the first to before the second), ascending, for a key that selects such."""
    uids = messages.uids
    count = len(uids)
    match query:
        case All():
            return [(0, count)]
        case SequenceNumbers(numbers):
            return [(first - 1, min(last, count)) for first, last in numbers.resolve(count).ranges]
        case Uids(wanted):
            ranges = wanted.resolve(uids[-1] if count else 0).ranges
            return [(bisect_left(uids, first), bisect_right(uids, last)) for first, last in ranges]
        case Recent():
            return [(bisect_left(uids, messages.recent_uid), count)]
    return None
