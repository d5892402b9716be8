"""Short spellings of changes of flags."""

from __future__ import annotations

from mailcache.flags import FlagSet, FlagStore, StoreMode


def adding(*flags: str) -> FlagStore:
    """Return ``+FLAGS``."""
    return FlagStore(StoreMode.ADD, FlagSet.parse(flags))


def removing(*flags: str) -> FlagStore:
    """Return ``-FLAGS``."""
    return FlagStore(StoreMode.REMOVE, FlagSet.parse(flags))


def replacing(*flags: str) -> FlagStore:
    """Return ``FLAGS``."""
    return FlagStore(StoreMode.REPLACE, FlagSet.parse(flags))
