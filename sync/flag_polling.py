"""When flags are read where no HIGHESTMODSEQ tells that they changed. Pure.

The newest messages are those whose flags change, and cost one short command: they are read often. All flags of a
mailbox are read at intervals that grow with the time for which nothing has changed, and shrink when something does.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import IntEnum

RECENT_MESSAGES = 200
RECENT_SOONEST = timedelta(minutes=5)
RECENT_LATEST = timedelta(minutes=30)
ALL_SOONEST = timedelta(minutes=10)
ALL_LATEST = timedelta(hours=24)
# Of the time for which nothing had changed when last looked at.
_RECENT_SHARE = 1 / 8
_ALL_SHARE = 1 / 2


class FlagScope(IntEnum):
    """Whose flags are read."""

    NONE = 0
    RECENT = 1
    ALL = 2


def scope_due(
    *,
    now: datetime,
    recent_at: datetime | None,
    all_at: datetime | None,
    changed_at: datetime | None,
    stirred: bool = False,
) -> FlagScope:
    """Return whose flags are due.

    ``recent_at`` and ``all_at`` are when those of the newest and of all messages were last read, ``changed_at`` when
    that last found a change. ``stirred`` tells that something happened in the mailbox just now.
    """
    if all_at is None:
        return FlagScope.ALL
    seen = all_at if recent_at is None else max(recent_at, all_at)
    quiet = timedelta() if stirred else _quiet(seen, changed_at)
    if now - all_at >= _bounded(quiet * _ALL_SHARE, ALL_SOONEST, ALL_LATEST):
        return FlagScope.ALL
    if stirred or now - seen >= _bounded(quiet * _RECENT_SHARE, RECENT_SOONEST, RECENT_LATEST):
        return FlagScope.RECENT
    return FlagScope.NONE


def _quiet(seen: datetime, changed_at: datetime | None) -> timedelta:
    """Return for how long nothing had changed when flags were last read."""
    return ALL_LATEST if changed_at is None else max(seen - changed_at, timedelta())


def _bounded(interval: timedelta, least: timedelta, most: timedelta) -> timedelta:
    return min(max(interval, least), most)
