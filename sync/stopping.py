"""That a worker is to stop: known to all of its processes, so that slices end at their next commit point.

Celery tells only the worker's main process about SIGTERM. The flag is a byte of memory that it shares with the pool
processes it forks. Some supervisors signal every process: then a slice's own process is told by its handler.
"""

from __future__ import annotations

import mmap
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_flag = mmap.mmap(-1, 1)
# No lock, no Event: a signal handler sets it.
_told = [False]


def request_stop() -> None:
    """Have all slices of this worker end soon."""
    _flag[0] = 1


def is_stopping() -> bool:
    """Tell whether the slices of this process are to end."""
    return _flag[0] != 0 or _told[0]


def forget() -> None:
    """Take the request back."""
    _flag[0] = 0
    _told[0] = False


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Have SIGTERM end the slice that is worked on here at its next commit point, instead of this process."""
    if threading.current_thread() is not threading.main_thread():
        yield  # a pool of threads is told by its worker
        return
    before = signal.signal(signal.SIGTERM, _note)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        _told[0] = False


def _note(number: int, frame: FrameType | None) -> None:
    _told[0] = True
