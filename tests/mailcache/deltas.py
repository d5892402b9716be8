"""Short spellings of changes of flags."""

from __future__ import annotations

from mailcache.flags import FlagChange, FlagSet, StoreMode


def adding(*flags: str) -> FlagChange:
    """Return ``+FLAGS``."""
    return FlagChange(StoreMode.ADD, FlagSet.parse(flags))


def removing(*flags: str) -> FlagChange:
    """Return ``-FLAGS``."""
    return FlagChange(StoreMode.REMOVE, FlagSet.parse(flags))


def replacing(*flags: str) -> FlagChange:
    """Return ``FLAGS``."""
    return FlagChange(StoreMode.REPLACE, FlagSet.parse(flags))
