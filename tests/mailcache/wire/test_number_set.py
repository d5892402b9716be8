"""Number sets and sequence sets."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcache.wire.number_set import MAX_NUMBER, NumberSet, SequenceSet

NUMBERS = st.sets(st.integers(1, 60), max_size=40)


@given(NUMBERS)
def test_behaves_as_a_set(numbers: set[int]) -> None:
    packed = NumberSet.from_numbers(numbers)

    assert list(packed) == sorted(numbers)
    assert len(packed) == len(numbers)
    assert {number for number in range(62) if number in packed} == numbers
    assert NumberSet.parse(bytes(packed)) == packed


@given(NUMBERS, NUMBERS)
def test_algebra(one: set[int], other: set[int]) -> None:
    left, right = NumberSet.from_numbers(one), NumberSet.from_numbers(other)

    assert set(left | right) == one | other
    assert set(left & right) == one & other
    assert set(left - right) == one - other


@given(NUMBERS)
def test_ranges_are_as_few_as_possible(numbers: set[int]) -> None:
    ranges = NumberSet.from_numbers(numbers).ranges

    assert all(last + 1 < first for (_, last), (first, _) in itertools.pairwise(ranges))


def test_a_range_is_never_expanded() -> None:
    everything = NumberSet.parse(b"1:4294967295")

    assert len(everything) == MAX_NUMBER
    assert not everything.complement()


@pytest.mark.parametrize(
    ("raw", "largest", "resolved"),
    [("1:*", 5, "1:5"), ("*", 5, "5"), ("9:*", 5, "5:9"), ("*:2", 5, "2:5"), ("4,2:3,9", 5, "2:4,9"), ("*", 0, "")],
)
def test_star(raw: str, largest: int, resolved: str) -> None:
    assert str(SequenceSet.parse(raw).resolve(largest)) == resolved


@pytest.mark.parametrize(
    "raw", ["0", "1:", ":1", "1,,2", "a", "1:2:3", "4294967296", "-1", "+1", "１", " 1", "99999999999"]
)
def test_what_is_no_set_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match=r"message number"):
        SequenceSet.parse(raw)


def test_star_without_meaning_and_too_many_ranges_are_refused() -> None:
    with pytest.raises(ValueError, match="no meaning"):
        NumberSet.parse("1:*")
    with pytest.raises(ValueError, match="too many"):
        SequenceSet.parse("1,3,5", max_ranges=2)


def test_the_empty_set() -> None:
    assert NumberSet.parse(b"") == NumberSet()
    assert str(NumberSet()) == ""
    assert not NumberSet()
