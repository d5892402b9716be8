"""A watcher under test: in a thread with an event loop of its own, with profiles that do not take their time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import uvloop

from sync.upstream.endpoint import Deadlines
from sync.watcher import Watcher
from tests.waiting import wait_until


@contextmanager
def watching(
    *,
    deadlines: Deadlines | None = None,
    wall_clock: Callable[[], float] = time.time,
    logins_per_second: float = 1000.0,
) -> Iterator[Watcher]:
    """Yield a watcher that runs."""
    watchers: list[Watcher] = []
    loop = uvloop.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        watcher = Watcher(
            reload_seconds=0.2,
            rng=Random(1),
            deadlines=deadlines,
            wall_clock=wall_clock,
            logins_per_second=logins_per_second,
        )
        watchers.append(watcher)
        await watcher.run(stop)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        wait_until(lambda: watchers)
        yield watchers[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        assert not thread.is_alive()
        loop.close()
