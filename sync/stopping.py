"""That a worker is to stop: known to all of its pool processes, so that slices end at their next commit point.

Celery tells only the worker's main process about SIGTERM. The flag is a byte of memory that it shares with the
processes it forks.
"""

from __future__ import annotations

import mmap
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_flag = mmap.mmap(-1, 1)
_at_work = 0


def request_stop() -> None:
    """Have all slices of this worker end soon. Safe in a signal handler."""
    _flag[0] = 1


def is_stopping() -> bool:
    """Tell whether the worker is to stop."""
    return _flag[0] != 0


def forget() -> None:
    """Take the request back."""
    _flag[0] = 0


@contextmanager
def at_work() -> Iterator[None]:
    """Mark that this process works on a slice."""
    global _at_work
    _at_work += 1
    try:
        yield
    finally:
        _at_work -= 1


def end_in_order(number: int, frame: FrameType | None) -> None:
    """End a pool process as SIGTERM would, but not before its slice has come to a commit point."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if _at_work:
        request_stop()
    else:
        os.kill(os.getpid(), signal.SIGTERM)
