"""Whoever kills a child kills no other."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE

from tests.e2e.nursery import Child


def test_a_child_that_has_ended_is_killed_once_more(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second = (stack.enter_context(subprocess.Popen("cat", stdin=PIPE, stdout=PIPE)) for _ in range(2))
        ended = Child(first.pid, tmp_path / "first")
        ended.kill()
        ended.wait()
        # It gets the descriptor that has become free.
        other = Child(second.pid, tmp_path / "second")
        ended.kill()
        assert second.communicate(b"alive", timeout=20)[0] == b"alive"
        other.wait()
