"""Turns: where an account may have one working connection, a sync ends its slice for a replay that waits.

A note in the cache; when it is lost the replay waits until the slice ends by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from django.core.cache import cache

_SECONDS = 10
_LOOK_SECONDS = 0.5


def ask(account_id: int) -> None:
    """Ask whoever works on the account's upstream to make way."""
    cache.set(_key(account_id), 1, timeout=_SECONDS)


def forget(account_id: int) -> None:
    """Take that back: the replay has its connection."""
    cache.delete(_key(account_id))


def is_asked(account_id: int) -> bool:
    """Tell whether a replay waits for a connection of this account."""
    return cache.get(_key(account_id)) is not None


def watch(account_id: int) -> Callable[[], bool]:
    """Return a cheap form of ``is_asked`` for a loop: it looks once a second."""
    looked = time.monotonic()

    def is_asked_now() -> bool:
        nonlocal looked
        if time.monotonic() - looked < _LOOK_SECONDS:
            return False
        looked = time.monotonic()
        return is_asked(account_id)

    return is_asked_now


def _key(account_id: int) -> str:
    return f"replay-waits:{account_id}"
