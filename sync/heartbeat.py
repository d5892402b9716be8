"""The heartbeat of a slice: keeps its lease, slots and run alive, and tells it when to stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from django.db import Error as DatabaseError
from django.db import connection

from mailcache.errors import LeaseLost
from mailcache.models import Account, LeaseKind
from mailcache.services import leases
from mailcache.services.leases import LEASE_SECONDS, RENEW_SECONDS, Fence
from sync import stopping

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
# A worker that is to stop gets so long to reach a commit point; then what it waits for is ended.
_STOP_SECONDS = 10.0


class Heartbeat:
    """A thread that renews a lease every ``RENEW_SECONDS`` and calls ``on_beat``; ``abort`` ends what the slice does.

    That is when the lease is lost, when the worker is to stop and does not get to a commit point, or when the slice has
    taken longer than ``at_most`` seconds: ``is_overtime`` tells then. ``must_stop`` becomes true when the lease is lost
    or the account may no longer be synced.
    """

    def __init__(
        self, fence: Fence, *, on_beat: Callable[[], None], abort: Callable[[], None], at_most: float | None = None
    ) -> None:
        self._fence = fence
        self._on_beat = on_beat
        self._abort = abort
        self._ends_at = None if at_most is None else time.monotonic() + at_most
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{fence.account_id}", daemon=True)
        self._stop = threading.Event()
        self._stopping_since: float | None = None
        self.is_overtime = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop beating; nothing of it runs any more when this returns."""
        self._ended.set()
        self._thread.join()

    def must_stop(self) -> bool:
        """Tell whether the slice should end at its next commit point because of its account."""
        return self._stop.is_set()

    def _run(self) -> None:
        renewed = looked = time.monotonic()
        try:
            while not self._ended.wait(min(RENEW_SECONDS, _LOOK_SECONDS)):
                now = time.monotonic()
                self._look_at_the_clock(now)
                if now - looked < RENEW_SECONDS:
                    continue
                looked = now
                try:
                    self._beat()
                    renewed = now
                except LeaseLost:
                    self._lose()
                    return
                except DatabaseError as error:
                    logger.warning("heartbeat of account %s: %s", self._fence.account_id, error)
                    if now - renewed > LEASE_SECONDS:
                        self._lose()
                        return
                finally:
                    # Between two beats nobody needs it, and there are many heartbeats.
                    connection.close()
        finally:
            connection.close()

    def _look_at_the_clock(self, now: float) -> None:
        if self._ends_at is not None and now >= self._ends_at and not self.is_overtime:
            self.is_overtime = True
            self._abort()
        if stopping.is_stopping():
            self._stopping_since = self._stopping_since or now
            if now - self._stopping_since >= _STOP_SECONDS:
                self._abort()

    def _beat(self) -> None:
        leases.renew(self._fence)
        accounts = Account.objects
        allowed = accounts.replayable() if self._fence.kind == LeaseKind.REPLAY else accounts.syncable()
        if not allowed.filter(pk=self._fence.account_id).exists():
            self._stop.set()
        self._on_beat()

    def _lose(self) -> None:
        self._stop.set()
        self._abort()
