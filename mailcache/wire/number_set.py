"""Sets of message numbers and UIDs (RFC 3501 9, ``sequence-set``) as sorted ranges. Pure.

A range that a peer sent is never expanded: ``1:4294967295`` costs as much as ``1``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MAX_NUMBER = 2**32 - 1
DEFAULT_MAX_RANGES = 100_000

Range = tuple[int, int]


class NumberSet:
    """An immutable set of positive numbers, kept as sorted, disjoint, non-adjacent ranges."""

    __slots__ = ("_ranges",)

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        """Take ranges as (first, last), in any order, overlapping or not."""
        self._ranges = _merged(sorted(ranges))

    @classmethod
    def from_numbers(cls, numbers: Iterable[int]) -> NumberSet:
        """Build from single numbers, in any order."""
        return cls((number, number) for number in numbers)

    @classmethod
    def parse(cls, raw: bytes | str, *, star: int | None = None, max_ranges: int = DEFAULT_MAX_RANGES) -> NumberSet:
        """Read ``1:5,9``; ``*`` stands for ``star``. Raises ``ValueError``, also for ``*`` where ``star`` is None.

        The empty string is the empty set, which is how the journal stores it.
        """
        text = raw.decode("ascii") if isinstance(raw, bytes) else raw
        if not text:
            return cls()
        return SequenceSet.parse(text, max_ranges=max_ranges).resolve(star)

    @property
    def ranges(self) -> tuple[Range, ...]:
        """The ranges as (first, last), ascending."""
        return self._ranges

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int):
            return False
        index = bisect_right(self._ranges, (number, MAX_NUMBER)) - 1
        return index >= 0 and self._ranges[index][1] >= number

    def __iter__(self) -> Iterator[int]:
        for first, last in self._ranges:
            yield from range(first, last + 1)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self._ranges)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __eq__(self, other: object) -> bool:
        return self._ranges == other._ranges if isinstance(other, NumberSet) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._ranges)

    def __or__(self, other: NumberSet) -> NumberSet:
        return NumberSet((*self._ranges, *other._ranges))

    def __and__(self, other: NumberSet) -> NumberSet:
        shared: list[Range] = []
        left, right = list(reversed(self._ranges)), list(reversed(other._ranges))
        while left and right:
            first, last = max(left[-1][0], right[-1][0]), min(left[-1][1], right[-1][1])
            if first <= last:
                shared.append((first, last))
            (left if left[-1][1] < right[-1][1] else right).pop()
        return NumberSet(shared)

    def __sub__(self, other: NumberSet) -> NumberSet:
        return self & other.complement()

    def complement(self) -> NumberSet:
        """Return every number from 1 to ``MAX_NUMBER`` that is not in this set."""
        gaps: list[Range] = []
        next_number = 1
        for first, last in self._ranges:
            if next_number < first:
                gaps.append((next_number, first - 1))
            next_number = last + 1
        if next_number <= MAX_NUMBER:
            gaps.append((next_number, MAX_NUMBER))
        return NumberSet(gaps)

    def __str__(self) -> str:
        return ",".join(str(first) if first == last else f"{first}:{last}" for first, last in self._ranges)

    def __bytes__(self) -> bytes:
        return str(self).encode("ascii")

    def __repr__(self) -> str:
        return f"NumberSet({self})"


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """A ``sequence-set`` as a client sent it; ``None`` as an end of a range is ``*``."""

    ranges: tuple[tuple[int | None, int | None], ...]

    @classmethod
    def parse(cls, raw: bytes | str, *, max_ranges: int = DEFAULT_MAX_RANGES) -> SequenceSet:
        """Read a ``sequence-set``; raises ``ValueError`` for anything else and for more than ``max_ranges`` ranges."""
        text = raw.decode("ascii") if isinstance(raw, bytes) else raw
        pieces = text.split(",", max_ranges)
        if len(pieces) > max_ranges:
            raise ValueError("too many ranges in a sequence set")
        return cls(tuple(_range(piece) for piece in pieces))

    def resolve(self, largest: int | None) -> NumberSet:
        """Return the numbers meant where ``*`` is ``largest``.

        ``largest`` 0 (an empty mailbox) makes ``*`` mean nothing; None means that ``*`` is not allowed here.
        """
        resolved: list[Range] = []
        for one, other in self.ranges:
            if (one is None or other is None) and largest is None:
                raise ValueError("'*' has no meaning here")
            first = largest if one is None else one
            last = largest if other is None else other
            if first and last:
                resolved.append((min(first, last), max(first, last)))
        return NumberSet(resolved)


def _range(piece: str) -> tuple[int | None, int | None]:
    first, colon, last = piece.partition(":")
    one = _number(first)
    return one, _number(last) if colon else one


def _number(text: str) -> int | None:
    if text == "*":
        return None
    # 10 digits hold every 32-bit number; isdigit alone would let other scripts' digits pass.
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise ValueError(f"not a message number: {text[:20]!r}")
    number = int(text)
    if not 1 <= number <= MAX_NUMBER:
        raise ValueError(f"message number out of range: {number}")
    return number


def _merged(ranges: Sequence[Range]) -> tuple[Range, ...]:
    merged: list[Range] = []
    for first, last in ranges:
        if merged and first <= merged[-1][1] + 1:
            if last > merged[-1][1]:
                merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return tuple(merged)
