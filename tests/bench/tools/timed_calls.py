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

REPLAY = "replay: all slices"

# Each in the thread that it runs in; what is set in is part of the line above it.
TIMED = {
    "listing thread: fetch, with the wait for the upstream": "sync.upstream.blocking.BlockingClient.uid_fetch",
    "listing thread: rows of the skeleton": "sync.skeleton.add_messages",
    "listing thread: wait for the storing thread": "sync.body_store.BodyStore.drain",
    "storing thread: parse": "sync.storing.parse_message",
    "storing thread: segments": "sync.storing.store_segment",
    "  of which fsync": "mailcache.segments._fsync",
    "storing thread: rows of bodies (database)": "sync.storing.add_contents",
    REPLAY: "sync.replay.run._Slice.run",
    "  of which the queue (database)": "sync.replay.run.load_queue",
    "  of which what is to be sent (database)": "sync.replay.work.ReplayWork.rows",
    "  of which notes before it is sent (database)": "sync.replay.append.note_sent",
    "  of which APPEND, with the wait for the upstream": "sync.upstream.blocking.BlockingClient.append",
    "  of which settlement (database)": "sync.replay.append.settle_creators",
}
_SLICES = ("sync.tasks.run_slice", "sync.tasks.run_replay")


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


def print_spent(directory: Path) -> None:
    """Print it, except for what was never called."""
    for name, (wall, cpu) in read_spent(directory).items():
        if wall:
            print(f"  {name:56} {wall:7.1f} s, of the processor {cpu:6.1f} s")


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
    for path in _SLICES:
        _replace(path, clock.written)


def _replace(path: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    owner_path, _, attribute = path.rpartition(".")
    owner: Any = locate(owner_path)
    setattr(owner, attribute, wrap(getattr(owner, attribute)))


if DIRECTORY_VARIABLE in os.environ:
    install(Path(os.environ[DIRECTORY_VARIABLE]))
