"""A flag that one coroutine may wait for; ``asyncio.Event`` serves many and costs ten times the memory."""

from __future__ import annotations

import asyncio


class Signal:
    """Set by anybody, awaited by one coroutine at a time."""

    __slots__ = ("_is_set", "_waiter")

    def __init__(self) -> None:
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_set(self) -> bool:
        """Tell whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and wake who waits."""
        self._is_set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def clear(self) -> None:
        """Take it back."""
        self._is_set = False

    async def wait(self, seconds: float) -> bool:
        """Wait until it is set, for at most ``seconds``; returns whether it is."""
        if not self._is_set and seconds > 0:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait([self._waiter], timeout=seconds)
            finally:
                self._waiter = None
        return self._is_set
