"""Short spellings of flag deltas."""

from __future__ import annotations

from mailcache.flags import FlagDelta, FlagSet


def adding(*flags: str) -> FlagDelta:
    """Return the delta of ``+FLAGS``."""
    return FlagDelta(add=FlagSet.parse(flags))


def removing(*flags: str) -> FlagDelta:
    """Return the delta of ``-FLAGS``."""
    return FlagDelta(remove=FlagSet.parse(flags))
