"""Stores fetched bodies beside the thread that fetches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from django.db import connections

from mailcache.services.ingest_bodies import BodiesAdded
from mailcache.services.leases import Fence
from mailcache.spool import SpooledLiteral
from sync.services.runs import Counters
from sync.spool import FetchedBody
from sync.storing import store_bodies


class BodyStore:
    """Takes batches of one mailbox after the other; at most one is being stored while the next is fetched.

    A fault in storing is raised by the next ``put`` or ``drain``.
    """

    def __init__(self, fence: Fence, counters: Counters) -> None:
        self._fence = fence
        self._counters = counters
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bodies")
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let what was handed over finish; its fault is raised, on top of one that is under way already."""
        try:
            self.drain()
        finally:
            # Not ``connection.close``: that name would be looked up here, in the wrong thread.
            self._executor.submit(connections.close_all)
            self._executor.shutdown(wait=True)

    def put(self, mailbox_id: int, bodies: Sequence[FetchedBody], *, on_end: Callable[[], None]) -> None:
        """Hand over a batch; waits for the one before it. ``on_end`` is called when it is committed, or failed."""
        try:
            self.drain()
        except BaseException:
            _discard(bodies)
            raise
        if bodies:
            self._pending = self._executor.submit(self._store_and_tell, mailbox_id, bodies, on_end)

    def drain(self) -> None:
        """Wait until everything handed over is committed."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _store_and_tell(self, mailbox_id: int, bodies: Sequence[FetchedBody], on_end: Callable[[], None]) -> None:
        try:
            store_bodies(fence=self._fence, mailbox_id=mailbox_id, bodies=bodies, on_added=self._count)
        finally:
            on_end()

    def _count(self, added: BodiesAdded) -> None:
        self._counters.bodies_added += added.stored + added.duplicate
        self._counters.sizes_corrected += added.resized


def _discard(bodies: Sequence[FetchedBody]) -> None:
    for body in bodies:
        if isinstance(body.data, SpooledLiteral):
            body.data.discard()
