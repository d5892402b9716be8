"""The watcher: connections that listen to upstreams, thousands in one process, each account's by its lease.

It asks for a sync of what an upstream speaks of, and fetches the bytes that clients wait for. What it misses is found
by the periodic sync.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from django.db import Error as DatabaseError

from mailcache import wakeup
from mailcache.services.leases import RENEW_SECONDS
from mailcache.services.wanted import accounts_wanting
from sync.connection import new_holder
from sync.database_calls import DatabaseCalls
from sync.fetching_wanted import enqueue_unanswered
from sync.holder import Held, WatchLeases
from sync.replay.returning import KNOCK_SECONDS, Returning
from sync.services.watchers import show_life
from sync.upstream.endpoint import Deadlines
from sync.watch_account import AccountWatch
from sync.watch_connections import WatchConnections
from sync.watch_context import WatchContext
from sync.watch_pace import LOGINS_PER_SECOND, LoginPace
from sync.watch_requests import SyncRequests

logger = logging.getLogger(__name__)

_RELOAD_SECONDS = 5.0
_SLOW_CALLS = 4
# Logins that may ask an authorization server first: nobody else is to wait for it.
_TOKEN_CALLS = 4
# Behind the wake-ups; the index that it reads is empty while nobody waits.
_WANTS_SECONDS = 1.0
_CLOCK_SECONDS = 5.0
# More than any event loop is held up, less than it takes a router to forget a connection.
_CLOCK_JUMP_SECONDS = 20.0
# An account that cannot be watched now: no connection is left for that, or its login was refused.
_ASIDE_SECONDS = 300.0


@dataclass(slots=True)
class _Watched:
    held: Held
    watch: AccountWatch
    task: asyncio.Task[None]


class Watcher:
    """Watches the accounts that this process holds until ``stop`` is set."""

    def __init__(
        self,
        *,
        deadlines: Deadlines | None = None,
        reload_seconds: float = _RELOAD_SECONDS,
        logins_per_second: float = LOGINS_PER_SECOND,
        rng: Random | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.holder = new_holder()
        self._reload_seconds = reload_seconds
        self._wall_clock = wall_clock
        self._database = DatabaseCalls()
        self._slow = DatabaseCalls(_SLOW_CALLS)
        self._tokens = DatabaseCalls(_TOKEN_CALLS)
        self._leases = WatchLeases(self.holder)
        self._requests = SyncRequests(self._database)
        self._connections = WatchConnections(
            self.holder,
            database=self._database,
            slow=self._slow,
            tokens=self._tokens,
            pace=LoginPace(logins_per_second),
            deadlines=deadlines or Deadlines(),
        )
        self._context = WatchContext(
            self._database,
            self._slow,
            self._connections,
            self._requests,
            rng or Random(),  # noqa: S311 - jitter, not a secret
            self._cannot_watch,
        )
        self._returning = Returning(self._database, self._context.rng, self._is_back)
        self._watched: dict[int, _Watched] = {}
        self._aside: set[int] = set()
        self._somebody_wants = asyncio.Event()
        self.reloads = 0

    @property
    def listening(self) -> set[int]:
        """Accounts whose upstream is being listened to now."""
        return {account_id for account_id, _ in self._context.listening}

    @property
    def listening_to(self) -> set[tuple[int, bytes]]:
        """The same with the mailbox of each connection."""
        return set(self._context.listening)

    async def run(self, stop: asyncio.Event) -> None:
        """Watch; returns after ``stop`` was set and every connection closed."""
        chores: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._every(self._reload_seconds, self._reload)),
            asyncio.create_task(self._every(RENEW_SECONDS, self._renew)),
            asyncio.create_task(self._requests.run()),
            asyncio.create_task(self._every(0.0, self._look_for_wants)),
            asyncio.create_task(self._listen_for_wants()),
            asyncio.create_task(self._watch_the_clock()),
            asyncio.create_task(self._every(KNOCK_SECONDS, self._returning.look)),
            asyncio.create_task(stop.wait()),
        ]
        try:
            done, _ = await asyncio.wait(chores, return_when=asyncio.FIRST_COMPLETED)
            for chore in done:
                chore.result()
        finally:
            self._connections.stop()
            await _cancel([*chores, *(watched.task for watched in self._watched.values())])
            await self._returning.close()
            await self._leave()
            self._database.close()
            self._slow.close()
            self._tokens.close()

    async def _every(self, seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await chore()
            except DatabaseError as error:
                logger.warning("watcher: PostgreSQL: %s", error)
                await asyncio.sleep(_WANTS_SECONDS)
            await asyncio.sleep(seconds)

    async def _reload(self) -> None:
        for account_id in list(self._aside):
            self._aside.discard(account_id)
            await self._database.call(self._leases.set_aside, account_id, _ASIDE_SECONDS)
        held = await self._database.call(self._leases.take)
        ended = [
            account_id
            for account_id, watched in self._watched.items()
            if held.get(account_id) != watched.held or watched.task.done()
        ]
        await self._forget(ended)
        for account_id in held.keys() - self._watched.keys():
            self._watched[account_id] = self._begin(held[account_id])
        self.reloads += 1

    def _begin(self, held: Held) -> _Watched:
        watch = AccountWatch(self._context, held.fence, host=str(held.settings[0]))
        task = asyncio.create_task(watch.run(), name=f"watch-{watch.account_id}")
        return _Watched(held, watch, task)

    async def _renew(self) -> None:
        try:
            await self._database.call(self._leases.renew)
            await self._connections.renew()
        finally:
            self._leases.drop_unless_renewed()
            await self._forget(self._watched.keys() - set(self._leases.held()))

    async def _forget(self, account_ids: Sequence[int] | set[int]) -> None:
        await _cancel([self._watched.pop(account_id).task for account_id in account_ids])

    async def _leave(self) -> None:
        try:
            await self._database.call(self._leases.leave)
            await self._connections.close()
        except DatabaseError as error:
            logger.warning("watcher: its leases are left to expire: %s", error)

    def _cannot_watch(self, account_id: int) -> None:
        self._aside.add(account_id)

    def _is_back(self, account_ids: Collection[int]) -> None:
        for account_id in account_ids:
            if account_id in self._watched:
                self._watched[account_id].watch.hurry()

    async def _listen_for_wants(self) -> None:
        async for account_id in wakeup.listen_for_wants():
            if account_id in self._watched:
                self._watched[account_id].watch.want()
            else:
                self._somebody_wants.set()

    async def _look_for_wants(self) -> None:
        """Notice wants that no wake-up told of, and those for which nobody answers."""
        try:
            async with asyncio.timeout(_WANTS_SECONDS):
                await self._somebody_wants.wait()
        except TimeoutError:
            pass
        self._somebody_wants.clear()
        await self._database.call(show_life, holder=self.holder)
        wanting = await self._database.call(accounts_wanting)
        for account_id in wanting.keys() & self._watched.keys():
            self._watched[account_id].watch.want()
            del wanting[account_id]
        if wanting:
            await self._database.call(enqueue_unanswered, wanting)

    async def _watch_the_clock(self) -> None:
        """Notice that the machine slept, or was moved: its connections may be dead without knowing."""
        loop = asyncio.get_running_loop()
        while True:
            before = self._wall_clock() - loop.time()
            await asyncio.sleep(_CLOCK_SECONDS)
            jump = self._wall_clock() - loop.time() - before
            if abs(jump) > _CLOCK_JUMP_SECONDS:
                logger.warning("watcher: the clock jumped by %.0f s; looking whether connections are alive", jump)
                for watched in self._watched.values():
                    watched.watch.probe()


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            logger.error("a task of the watcher failed", exc_info=result)
