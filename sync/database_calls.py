"""Database calls from an event loop: one thread, so one connection per process, closed at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connections

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseCalls:
    """Runs functions that use the database in a thread of their own, one after the other."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")

    async def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what *function* returns; the event loop goes on meanwhile."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(_on_a_good_connection, function, *args, **kwargs))

    def close(self) -> None:
        """Finish what was begun and close the connection."""
        # Not ``connection.close``: that name would be looked up here, in the wrong thread.
        self._executor.submit(connections.close_all)
        self._executor.shutdown(wait=True)


def _on_a_good_connection(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    close_old_connections()
    return function(*args, **kwargs)
