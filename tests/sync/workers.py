"""A fleet of workers in this process: queues in memory, as many slots as a test wants, run to the end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import pytest
from celery import current_app
from django.db import connections

from sync import scheduling
from sync.account_run import UNFINISHED, SliceEnd, run_slice
from sync.lanes import Lane


class Fleet:
    """Takes the place of the broker; ``work`` runs tasks as workers of some queues do, until these are empty."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._lock = threading.Lock()
        self.queues: dict[str, deque[tuple[int, bool]]] = {name: deque() for name in ("urgent", "sync", "bulk")}
        self.ends: list[tuple[int, SliceEnd]] = []
        """How each slice ended, in order."""
        monkeypatch.setattr(current_app, "send_task", self._send)

    def _send(self, name: str, args: list[int], kwargs: Mapping[str, bool], queue: str, **options: Any) -> None:
        assert name == scheduling.SYNC_ACCOUNT
        with self._lock:
            self.queues[queue].append((args[0], kwargs["full"]))

    def work(self, lane: Lane, *, slots: int, seconds: float) -> None:
        """Work in one lane with so many slots until nothing is left for it."""
        threads = [threading.Thread(target=self._slot, args=(lane, seconds)) for _ in range(slots)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()

    def ends_of(self, account_id: int) -> list[SliceEnd]:
        """Return how the slices of one account ended."""
        return [end for ended, end in self.ends if ended == account_id]

    def _slot(self, lane: Lane, seconds: float) -> None:
        try:
            while (task := self._next(lane)) is not None:
                account_id, full = task
                end = run_slice(account_id, full=full, lane=lane, seconds=seconds)
                with self._lock:
                    self.ends.append((account_id, end))
                if end in UNFINISHED:
                    scheduling.enqueue(account_id, full=full and end is SliceEnd.SLOW)
        finally:
            connections.close_all()

    def _next(self, lane: Lane) -> tuple[int, bool] | None:
        with self._lock:
            names = ("bulk",) if lane is Lane.SLOW else ("urgent", "sync")
            return next((self.queues[name].popleft() for name in names if self.queues[name]), None)
