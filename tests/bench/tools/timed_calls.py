"""Where a real worker's time goes, by the clock and by the processor.

Loaded by ``celery worker --include tests.bench.tools.timed_calls``, before the pool processes are forked; the product
knows nothing of it. After each slice every process writes its totals into the directory that ``DIRECTORY_VARIABLE``
names.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from pydoc import locate
from typing import Any, NamedTuple

DIRECTORY_VARIABLE = "IMAPPED_BENCH_DIRECTORY"

# Each in the thread that it runs in; what is set in is part of the line above it.
TIMED = {
    "listing thread: fetch, with the wait for the upstream": "sync.upstream.blocking.BlockingClient.uid_fetch",
    "listing thread: rows of the skeleton": "sync.skeleton.add_messages",
    "listing thread: wait for the storing thread": "sync.body_store.BodyStore.drain",
    "storing thread: parse": "sync.storing.parse_message",
    "storing thread: segments": "sync.storing.store_segment",
    "  of which fsync": "mailcache.segments._fsync",
    "storing thread: rows of bodies (database)": "sync.storing.add_contents",
}
_SLICE = "sync.tasks.run_slice"


class Spent(NamedTuple):
    """Seconds by the clock, and of the processor."""

    wall: float
    cpu: float


def read_spent(directory: Path) -> dict[str, Spent]:
    """Return what all processes of a worker spent, by the names of ``TIMED``."""
    files = [json.loads(path.read_text()) for path in directory.glob("*.json")]
    return {
        name: Spent(sum(found[name][0] for found in files), sum(found[name][1] for found in files)) for name in TIMED
    }


class _Clock:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._spent: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._lock = threading.Lock()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            wall, cpu = time.perf_counter(), time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
                with self._lock:
                    spent = self._spent[name]
                    spent[0] += wall
                    spent[1] += cpu

        return call

    def written(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            finally:
                with self._lock:
                    text = json.dumps({name: self._spent[name] for name in TIMED})
                (self._directory / f"{os.getpid()}.json").write_text(text)

        return call


def install(directory: Path) -> None:
    """Time the calls of this process and of those that it forks."""
    clock = _Clock(directory)
    for name, path in TIMED.items():
        _replace(path, partial(clock.timed, name))
    _replace(_SLICE, clock.written)


def _replace(path: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    owner_path, _, attribute = path.rpartition(".")
    owner: Any = locate(owner_path)
    setattr(owner, attribute, wrap(getattr(owner, attribute)))


if DIRECTORY_VARIABLE in os.environ:
    install(Path(os.environ[DIRECTORY_VARIABLE]))
