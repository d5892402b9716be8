"""Who waits for bytes that are not here yet, and is woken when some of their account arrive."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mailcache.generations import GenerationTable

# Comparing a slot costs nanoseconds; nobody looks while nobody waits.
_LOOK_SECONDS = 0.003


@dataclass(eq=False, slots=True)
class Waiter:
    """One command that waits."""

    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, seconds: float) -> None:
        """Return when something has arrived since the last time, or after ``seconds``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        self._arrived.clear()

    def wake(self) -> None:
        """Something has arrived."""
        self._arrived.set()


@dataclass(slots=True)
class _Account:
    token: int
    waiters: set[Waiter] = field(default_factory=set)


class Arrivals:
    """The commands of a process that wait, by account. Being woken means "look", nothing more."""

    def __init__(self, generations: GenerationTable) -> None:
        self._generations = generations
        self._accounts: dict[int, _Account] = {}
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def waiting(self, account_id: int) -> Iterator[Waiter]:
        """Yield what wakes when bytes of an account arrive; what came before is to be looked for afterwards."""
        waiter = Waiter()
        account = self._accounts.get(account_id)
        if account is None:
            account = self._accounts[account_id] = _Account(self._generations.read_bodies(account_id))
        account.waiters.add(waiter)
        if self._timer is None:
            self._look()
        try:
            yield waiter
        finally:
            account.waiters.discard(waiter)
            if not account.waiters:
                self._accounts.pop(account_id, None)

    def heard(self, account_id: int) -> None:
        """Another node tells that bytes of an account arrived."""
        account = self._accounts.get(account_id)
        for waiter in account.waiters if account is not None else ():
            waiter.wake()

    def _look(self) -> None:
        """Notice commits of this node."""
        self._timer = None
        for account_id, account in self._accounts.items():
            token = self._generations.read_bodies(account_id)
            if token != account.token:
                account.token = token
                self.heard(account_id)
        if self._accounts:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)
