"""Commit points of a real worker: recorded, and made to kill it.

Loaded by ``celery worker --include tests.fakes.crash_points``, before the pool processes are forked; the product knows
nothing of it. The directory that ``DIRECTORY_VARIABLE`` names is how a test talks to a running worker:

* ``recording`` exists: the place of every commit is appended to it, one per line;
* ``armed`` holds a crash point: the worker dies there by SIGKILL, pool process and parent, leaving ``crashed``.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Self

from django.db.backends.base.base import BaseDatabaseWrapper

DIRECTORY_VARIABLE = "IMAPPED_TEST_CRASH_DIRECTORY"
_ROOT = Path(__file__).resolve().parents[2]
_PRODUCT = tuple(f"{_ROOT / package}{os.sep}" for package in ("mailcache", "sync"))


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """Before or after the ``number``-th COMMIT (from 1) at a place in the code, counted since it was armed."""

    place: str
    number: int
    after: bool

    def __str__(self) -> str:
        return f"{self.place}#{self.number}#{'after' if self.after else 'before'}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what ``str`` of a crash point was."""
        place, number, moment = text.split("#")
        return cls(place, int(number), moment == "after")


class CrashControl:
    """A test's side: what it tells the worker, and what it learns from it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir()

    @property
    def directory(self) -> Path:
        """Where both sides look."""
        return self._directory

    @property
    def environment(self) -> dict[str, str]:
        """What the worker's environment needs."""
        return {DIRECTORY_VARIABLE: str(self._directory)}

    def record(self) -> None:
        """Have commits recorded from now on."""
        (self._directory / "recording").touch()

    def stop_recording(self) -> list[str]:
        """Return the places of the commits since ``record``, in their order."""
        recording = self._directory / "recording"
        places = recording.read_text().splitlines()
        recording.unlink()
        return places

    def arm(self, point: CrashPoint) -> None:
        """Have the worker die at ``point``."""
        (self._directory / "crashed").unlink(missing_ok=True)
        draft = self._directory / "armed.new"
        draft.write_text(str(point))
        draft.rename(self._directory / "armed")

    def disarm(self) -> bool:
        """Let later workers live; tells whether one has died."""
        (self._directory / "armed").unlink(missing_ok=True)
        return self.has_crashed()

    def has_crashed(self) -> bool:
        """Tell whether the worker has died at the armed point."""
        return (self._directory / "crashed").exists()


class _Commits:
    """Counts the commits of this worker, and kills it where it is told to."""

    def __init__(self, directory: Path, kill: Callable[[], None] | None) -> None:
        self._directory = directory
        self._kill = kill
        self._worker = os.getpid()
        self._armed = ""
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def passing(self, place: str) -> CrashPoint | None:
        """Note a commit that is about to happen; returns the crash point if it is this one."""
        with self._lock:
            recording = self._directory / "recording"
            if recording.exists():
                with recording.open("a") as record:
                    record.write(f"{place}\n")
            return self._match(place)

    def crash(self, point: CrashPoint) -> None:
        """Kill the worker: this pool process, and its parent that would start another one; or what was asked for."""
        (self._directory / "crashed").write_text(str(point))
        if self._kill is not None:
            self._kill()
            return
        if self._worker != os.getpid():
            os.kill(self._worker, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def _match(self, place: str) -> CrashPoint | None:
        try:
            armed = (self._directory / "armed").read_text()
        except FileNotFoundError:
            armed = ""
        if armed != self._armed:
            self._armed = armed
            self._counts.clear()
        self._counts[place] += 1
        point = CrashPoint.parse(armed) if armed else None
        if point is None or point.place != place or self._counts[place] != point.number:
            return None
        return point


def _place(frame: FrameType | None) -> str:
    """Return the innermost function of the product on the stack."""
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_PRODUCT):
            return f"{Path(path).relative_to(_ROOT)}:{frame.f_code.co_name}"
        frame = frame.f_back
    return "elsewhere"


def install(directory: Path, *, kill: Callable[[], None] | None = None) -> None:
    """Watch every COMMIT of this process and of those that it forks; ``kill`` is what happens instead of its death."""
    commits = _Commits(directory, kill)
    commit = BaseDatabaseWrapper._commit  # type: ignore[attr-defined] # Django's own, not in its stubs

    def watched(self: BaseDatabaseWrapper) -> Any:
        point = commits.passing(_place(sys._getframe(1)))
        if point is not None and not point.after:
            commits.crash(point)
        result = commit(self)
        if point is not None:
            # COMMIT has happened, nothing that follows it has: no generation was bumped, nobody woken.
            commits.crash(point)
        return result

    BaseDatabaseWrapper._commit = watched  # type: ignore[attr-defined] # the one door of COMMIT


if DIRECTORY_VARIABLE in os.environ:
    install(Path(os.environ[DIRECTORY_VARIABLE]))
