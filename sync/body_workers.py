"""Further connections of a slice, which fetch bodies while its first one still lists messages (field note 18).

Each is a thread with a connection of its own (note 19). They are independent: what one could not fetch is given back
and taken by another, and its failure is shown in the run at once (notes 28, 29; G6).
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from django.db import connections

from mailcache.errors import NoSuchMailbox
from sync.bodies import BodyFetcher
from sync.body_store import BodyStore
from sync.dispenser import BatchDispenser
from sync.errors import NoConnectionFree, SliceOver
from sync.faults import FaultHandler, Faults
from sync.models import Purpose
from sync.planner import FIRST_BATCH_BYTES
from sync.services.runs import Counters, note_trouble
from sync.slice_connections import SliceConnections
from sync.upstream.errors import UpstreamError
from sync.work import SliceWork

logger = logging.getLogger(__name__)


def fetch_batches(
    work: SliceWork, fetcher: BodyFetcher, dispenser: BatchDispenser, faults: Faults, *, is_first: bool
) -> None:
    """Fetch batch after batch over one connection; raises ``SliceOver``, or the fault that ends this connection.

    The slice's first connection takes what there is; the others wait for more while it lists.
    """
    handler = FaultHandler(work, faults, blames=is_first)
    while True:
        batch = dispenser.take(work.pace.batch_limit, wait=not is_first, avoided=handler.avoided)
        if batch is None:
            return
        try:
            # Outside of the other: what fails here is not the mailbox's fault.
            work.upstream.connect()
            try:
                fetcher.fetch(batch)
                faults.succeeded = True
            except NoSuchMailbox:
                logger.info("account %s: a mailbox was deleted while it was synced", work.account.pk)
                faults.mailboxes.add(batch.mailbox.pk)
            except UpstreamError as error:
                handler.take(batch.mailbox, error)
        finally:
            dispenser.release(batch.held, batch.mailbox.pk)
        work.pause_point()


class BodyWorkers:
    """The threads of one slice that fetch bodies; none where the account may not have so many connections."""

    def __init__(
        self,
        work: SliceWork,
        dispenser: BatchDispenser,
        faults: Faults,
        connections: SliceConnections,
        *,
        most: int,
        counters: list[Counters],
    ) -> None:
        self._work = work
        self._dispenser = dispenser
        self._faults = faults
        self._connections = connections
        self._most = most
        self._counters = counters
        self._executor = ThreadPoolExecutor(max_workers=max(1, most), thread_name_prefix="bodies")
        self._running: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Have all end at their next commit point, and wait for them."""
        self._dispenser.stop()
        self._executor.shutdown(wait=True)
        if error is None:
            self.join()

    @property
    def started(self) -> bool:
        """Tell whether bodies are being fetched beside the listing."""
        return bool(self._running)

    def consider(self) -> None:
        """Start them where there is more to fetch than the first connection fetches along the way."""
        if self._most == 0 or self._running or not self._dispenser.has_much(FIRST_BATCH_BYTES):
            return
        for _ in range(self._most):
            work = self._work.beside(self._connections.open(Purpose.BODIES))
            self._counters.append(work.counters)
            self._running.append(self._executor.submit(self._fetch, work))

    def join(self) -> None:
        """Wait until all have ended; raises what is a fault of ours."""
        for future in self._running:
            future.result()

    def _fetch(self, work: SliceWork) -> None:
        try:
            with BodyStore(work.fence, work.counters) as store:
                fetcher = BodyFetcher(work, store, self._dispenser)
                fetch_batches(work, fetcher, self._dispenser, self._faults, is_first=False)
        except SliceOver:
            return
        except NoConnectionFree as error:
            logger.warning("account %s: one connection fewer for bodies: %s", work.account.pk, error)
        except UpstreamError as error:
            self._faults.note(error)
            logger.warning("account %s: a connection for bodies failed: %s", work.account.pk, error)
            note_trouble(fence=work.fence, run=work.run, reason=f"a connection for bodies failed: {error}")
        finally:
            work.upstream.close()
            connections.close_all()
