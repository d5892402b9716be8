"""What is not believed at first sight (``sync.guards``)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailcache.wire.number_set import NumberSet
from sync.guards import (
    MOST_RENUMBERINGS,
    SAMPLE_MESSAGES,
    FirstSight,
    is_mass_deletion,
    is_second_sight,
    renumberings,
    sample,
)

NOW = datetime(2024, 5, 17, 12, 0, tzinfo=UTC)
SEEN_AT = NOW - timedelta(seconds=40)
LATER = NOW - timedelta(seconds=5)
FIRST = FirstSight(NumberSet([(1, 30)]), SEEN_AT)


@pytest.mark.parametrize(
    ("gone", "held", "exists", "expected"),
    [
        (0, 40, 40, False), (19, 20, 1, False), (20, 40, 20, True), (20, 41, 21, False), (900, 1000, 100, True),
        (1, 1, 0, True), (0, 0, 0, False),
    ],
)  # fmt: skip
def test_half_a_mailbox_or_all_of_it_is_much(gone: int, held: int, exists: int, expected: bool) -> None:
    assert is_mass_deletion(gone=gone, held=held, exists=exists, share=50) is expected


def test_the_same_or_more_is_believed_later_and_on_another_connection() -> None:
    assert is_second_sight(FIRST, range(1, 31), now=NOW, connected_at=LATER)
    assert is_second_sight(FIRST, range(1, 99), now=NOW, connected_at=LATER)
    assert not is_second_sight(None, range(1, 31), now=NOW, connected_at=LATER)
    assert not is_second_sight(FIRST, range(2, 99), now=NOW, connected_at=LATER)
    assert not is_second_sight(FIRST, range(1, 31), now=NOW - timedelta(seconds=11), connected_at=LATER)
    assert not is_second_sight(FIRST, range(1, 31), now=NOW, connected_at=SEEN_AT)


def test_renumberings_are_counted_within_a_day() -> None:
    assert renumberings(0, None, now=NOW) == 1
    assert renumberings(MOST_RENUMBERINGS, NOW - timedelta(hours=23), now=NOW) == MOST_RENUMBERINGS + 1
    assert renumberings(MOST_RENUMBERINGS, NOW - timedelta(days=1), now=NOW) == 1


def test_a_sample_is_spread_over_the_mailbox() -> None:
    assert sample([]) == []
    assert sample([5, 9]) == [5, 9]
    found = sample(range(1, 1001))
    assert (found[0], found[-1], len(found)) == (1, 1000, SAMPLE_MESSAGES)
