"""Logins are spread: thousands of connections are not opened at once, and least of all to one host."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

LOGINS_PER_SECOND = 10.0
"""To one host, by one watcher."""


class LoginPace:
    """Hands out turns, host by host."""

    def __init__(self, per_second: float = LOGINS_PER_SECOND, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1.0 / per_second
        self._clock = clock
        self._next: dict[str, float] = {}

    async def turn(self, host: str) -> None:
        """Wait until it is this caller's turn to log in."""
        await asyncio.sleep(self.reserve(host))

    def reserve(self, host: str) -> float:
        """Take the next turn; returns how long it is until then."""
        now = self._clock()
        turn = max(now, self._next.get(host, now))
        self._next[host] = turn + self._interval
        return turn - now
