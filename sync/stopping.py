"""That a worker is to stop: known to all of its pool processes, so that slices end at their next commit point.

Celery tells only the worker's main process about SIGTERM. The flag is a byte of memory that it shares with the
processes it forks.
"""

from __future__ import annotations

import mmap

_flag = mmap.mmap(-1, 1)


def request_stop() -> None:
    """Have all slices of this worker end soon. Safe in a signal handler."""
    _flag[0] = 1


def is_stopping() -> bool:
    """Tell whether the worker is to stop."""
    return _flag[0] != 0


def forget() -> None:
    """Take the request back."""
    _flag[0] = 0
