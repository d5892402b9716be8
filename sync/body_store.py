"""Makes fetched bodies durable, parses them and gives them to their messages, beside the thread that fetches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from django.db import connections

from mailcache.mime.parsed import parse_message
from mailcache.segments import store_segment, store_segment_file
from mailcache.services.ingest_bodies import BodiesAdded, BodyRow, add_contents
from mailcache.services.leases import Fence
from mailcache.spool import SpooledLiteral
from sync.services.runs import Counters
from sync.spool import FetchedBody


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
        self.drain()
        if bodies:
            self._pending = self._executor.submit(self._store_and_tell, mailbox_id, bodies, on_end)

    def drain(self) -> None:
        """Wait until everything handed over is committed."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _store_and_tell(self, mailbox_id: int, bodies: Sequence[FetchedBody], on_end: Callable[[], None]) -> None:
        try:
            self._store(mailbox_id, bodies)
        finally:
            on_end()

    def _store(self, mailbox_id: int, bodies: Sequence[FetchedBody]) -> None:
        small = [(body.remote_id, body.data) for body in bodies if isinstance(body.data, bytes)]
        if small:
            self._store_small(mailbox_id, small)
        for body in bodies:
            if isinstance(body.data, SpooledLiteral):
                self._store_large(mailbox_id, body.remote_id, body.data)

    def _store_small(self, mailbox_id: int, bodies: Sequence[tuple[int, bytes]]) -> None:
        rows = []
        offset = 0
        for remote_id, data in bodies:
            rows.append(BodyRow(remote_id, hashlib.sha256(data).digest(), offset, parse_message(data)))
            offset += len(data)
        segment = store_segment(account_id=self._fence.account_id, pieces=[data for _, data in bodies])
        added = add_contents(fence=self._fence, mailbox_id=mailbox_id, segment=segment, rows=rows)
        self._count(added)

    def _store_large(self, mailbox_id: int, remote_id: int, literal: SpooledLiteral) -> None:
        try:
            sha256 = literal.finish()
            with literal.mapped() as data:
                row = BodyRow(remote_id, sha256, 0, parse_message(data))
            segment = store_segment_file(account_id=self._fence.account_id, path=literal.path)
        finally:
            literal.discard()
        added = add_contents(fence=self._fence, mailbox_id=mailbox_id, segment=segment, rows=[row])
        self._count(added)

    def _count(self, added: BodiesAdded) -> None:
        self._counters.bodies_added += added.stored + added.duplicate
        self._counters.sizes_corrected += added.resized
