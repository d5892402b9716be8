"""What is not believed at first sight: mass deletions, and mailboxes that are renumbered over and over. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple

from mailcache.wire.number_set import NumberSet

MASS_MESSAGES = 20
"""Fewer are no mass deletion, whatever their share, unless they are all."""
SECOND_SIGHT_AFTER = timedelta(seconds=30)
MOST_RENUMBERINGS = 3
RENUMBERINGS_WITHIN = timedelta(days=1)
SAMPLE_MESSAGES = 10


class FirstSight(NamedTuple):
    """A mass deletion that was seen and held back."""

    uids: NumberSet
    seen_at: datetime


def is_mass_deletion(*, gone: int, held: int, exists: int, share: int) -> bool:
    """Tell whether so much of a mailbox is gone that once is not enough; ``share`` is in percent of ``held``."""
    if not gone:
        return False
    return exists == 0 or (gone >= MASS_MESSAGES and gone * 100 >= held * share)


def is_second_sight(first: FirstSight | None, gone: Collection[int], *, now: datetime, connected_at: datetime) -> bool:
    """Tell whether a deletion was seen before: the same messages or more of them, later, on another connection."""
    if first is None or now - first.seen_at < SECOND_SIGHT_AFTER or connected_at <= first.seen_at:
        return False
    return not first.uids - NumberSet.from_numbers(gone)


def renumberings(changes: int, changed_at: datetime | None, *, now: datetime) -> int:
    """Return the how-manieth change of UIDVALIDITY within a day it is that comes ``now``."""
    if changed_at is None or now - changed_at >= RENUMBERINGS_WITHIN:
        return 1
    return changes + 1


def sample(uids: Collection[int]) -> list[int]:
    """Return some UIDs of an ascending collection, spread over it with its ends among them."""
    if len(uids) <= SAMPLE_MESSAGES:
        return list(uids)
    ordered = list(uids)
    last = len(ordered) - 1
    return sorted({ordered[last * step // (SAMPLE_MESSAGES - 1)] for step in range(SAMPLE_MESSAGES)})
