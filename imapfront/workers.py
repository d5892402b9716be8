"""Several frontend processes on the same ports: forked by one parent, which keeps their number."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_RESTART_PAUSE_SECONDS = 1.0
_GRACE_SECONDS = 20.0


@dataclass(slots=True)
class Workers:
    """Forks ``count`` processes that call ``serve``, and replaces those that die, until SIGTERM or SIGINT."""

    count: int
    serve: Callable[[], None]
    _pids: dict[int, float] = field(default_factory=dict)
    _stopping: bool = False

    def run(self) -> None:
        """Return when all processes have ended. Call before any thread or connection exists."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        for _ in range(self.count):
            self._fork()
        while self._pids:
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                return
            started = self._pids.pop(pid, None)
            if started is None or self._stopping:
                continue
            logger.error("frontend process %d ended with status %d; starting another", pid, status)
            if time.monotonic() - started < _RESTART_PAUSE_SECONDS:
                time.sleep(_RESTART_PAUSE_SECONDS)
            self._fork()

    def _fork(self) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._pids[pid] = time.monotonic()
            return
        status = 1
        try:
            _die_with(parent)
            self.serve()
            status = 0
        except BaseException:
            # The edge of the process: nothing above may run twice.
            logger.exception("a frontend process failed")
        finally:
            os._exit(status)

    def _stop(self, number: int, _: FrameType | None) -> None:
        if not self._stopping:
            self._stopping = True
            signal.signal(signal.SIGALRM, self._kill)
            signal.setitimer(signal.ITIMER_REAL, _GRACE_SECONDS)
        for pid in self._pids:
            os.kill(pid, signal.SIGTERM)

    def _kill(self, number: int, _: FrameType | None) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)


def _die_with(parent: int) -> None:
    """End this process when its parent ends, however that happens."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(0)
