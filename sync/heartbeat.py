"""The heartbeat of a slice: keeps its lease and its run alive, and tells it when to stop."""

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
from mailcache.models import Account
from mailcache.services import leases
from mailcache.services.leases import LEASE_SECONDS, RENEW_SECONDS, Fence

logger = logging.getLogger(__name__)


class Heartbeat:
    """A thread that renews a lease every ``RENEW_SECONDS`` and calls ``on_beat``; ``on_lost`` when the lease is gone.

    ``must_stop`` becomes true when the lease is lost or the account may no longer be synced.
    """

    def __init__(self, fence: Fence, *, on_beat: Callable[[], None], on_lost: Callable[[], None]) -> None:
        self._fence = fence
        self._on_beat = on_beat
        self._on_lost = on_lost
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{fence.account_id}", daemon=True)
        self._stop = threading.Event()

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
        """Tell whether the slice should end at its next commit point."""
        return self._stop.is_set()

    def _run(self) -> None:
        renewed = time.monotonic()
        try:
            while not self._ended.wait(RENEW_SECONDS):
                try:
                    self._beat()
                    renewed = time.monotonic()
                except LeaseLost:
                    self._lose()
                    return
                except DatabaseError as error:
                    logger.warning("heartbeat of account %s: %s", self._fence.account_id, error)
                    connection.close()
                    if time.monotonic() - renewed > LEASE_SECONDS:
                        self._lose()
                        return
        finally:
            connection.close()

    def _beat(self) -> None:
        leases.renew(self._fence)
        if not Account.objects.syncable().filter(pk=self._fence.account_id).exists():
            self._stop.set()
        self._on_beat()

    def _lose(self) -> None:
        self._stop.set()
        self._on_lost()
