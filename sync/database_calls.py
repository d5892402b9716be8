"""Database calls from an event loop: in threads of their own, each with one connection, closed at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connections

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseCalls:
    """Runs functions that use the database in ``threads`` of its own; with one, one after the other."""

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="database")

    async def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what *function* returns; the event loop goes on meanwhile."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(_on_a_good_connection, function, *args, **kwargs))

    def close(self) -> None:
        """Finish what was begun and close the connections."""
        # Each thread takes one of these, because none of them ends before all have begun.
        together = threading.Barrier(self._threads)
        for _ in range(self._threads):
            self._executor.submit(_close_connections, together)
        self._executor.shutdown(wait=True)


def _on_a_good_connection(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    close_old_connections()
    return function(*args, **kwargs)


def _close_connections(together: threading.Barrier) -> None:
    # Not ``connection.close``: that name would be looked up in the wrong thread.
    connections.close_all()
    together.wait()
