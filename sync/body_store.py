"""Stores fetched bodies beside the thread that fetches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from mailcache.services.ingest_bodies import BodiesAdded
from mailcache.services.leases import Fence
from mailcache.spool import SpooledLiteral
from sync.database_calls import close_connections_of
from sync.services.runs import Counters
from sync.spool import FetchedBody
from sync.storing import store_bodies


class BodyStore:
    """Takes batches of one mailbox each; at most ``threads`` of them are being stored while the next is fetched.

    With two, one batch is parsed while the database works on the other. A fault in storing is raised by the next
    ``put`` or ``drain``.
    """

    def __init__(self, fence: Fence, counters: Counters, *, threads: int = 1) -> None:
        self._fence = fence
        self._counters = counters
        self._counting = threading.Lock()
        self._threads = threads
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="bodies")
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let what was handed over finish; its fault is raised, on top of one that is under way already."""
        try:
            self.drain()
        finally:
            close_connections_of(self._executor, self._threads)
            self._executor.shutdown(wait=True)

    def put(self, mailbox_id: int, bodies: Sequence[FetchedBody], *, on_end: Callable[[], None]) -> None:
        """Hand over a batch; waits until there is room. ``on_end`` is called when it is committed, or failed."""
        try:
            self._wait_for_all_but(self._threads - 1)
        except BaseException:
            _discard(bodies)
            raise
        if bodies:
            self._pending.append(self._executor.submit(self._store_and_tell, mailbox_id, bodies, on_end))

    def drain(self) -> None:
        """Wait until everything handed over is committed."""
        self._wait_for_all_but(0)

    def _wait_for_all_but(self, most: int) -> None:
        while len(self._pending) > most:
            self._pending.popleft().result()

    def _store_and_tell(self, mailbox_id: int, bodies: Sequence[FetchedBody], on_end: Callable[[], None]) -> None:
        try:
            store_bodies(fence=self._fence, mailbox_id=mailbox_id, bodies=bodies, on_added=self._count)
        finally:
            on_end()

    def _count(self, added: BodiesAdded) -> None:
        with self._counting:
            self._counters.bodies_added += added.stored + added.duplicate
            self._counters.sizes_corrected += added.resized


def _discard(bodies: Sequence[FetchedBody]) -> None:
    for body in bodies:
        if isinstance(body.data, SpooledLiteral):
            body.data.discard()
