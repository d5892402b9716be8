"""The foreground tree: output, restarts, and an end in bounded time whatever children do."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imapped_site.foreground import children
from imapped_site.settings.sources import BASE_DIR
from imapped_site.supervisor import Child, Supervisor, restart_pause
from tests.waiting import wait_until

SH = "/bin/sh"


class Recorder:
    """Keeps the lines of a supervised tree and tells when one appears."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self._changed = asyncio.Event()

    def __call__(self, name: str, line: str) -> None:
        self.lines.append((name, line))
        self._changed.set()

    async def until(self, text: str, *, times: int = 1) -> None:
        async with asyncio.timeout(20):
            while sum(text in line for _, line in self.lines) < times:
                self._changed.clear()
                await self._changed.wait()


def supervise(*tree: Child, record: Recorder, **options: float) -> Supervisor:
    return Supervisor(tree, environment=dict(os.environ), write=record, **options)


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_pauses_between_restarts_grow_to_a_limit() -> None:
    assert [restart_pause(failures) for failures in (0, 1, 2, 3, 4, 5, 1000)] == [1, 2, 4, 8, 16, 30, 30]


async def test_output_is_passed_on_by_line_and_name() -> None:
    record = Recorder()
    last_words = "trap \"printf 'two\\303\\244\\377 '; exit\" TERM"
    supervisor = supervise(Child("a", (SH, "-c", f"{last_words}; echo one; echo; sleep 600 & wait")), record=record)
    task = asyncio.create_task(supervisor.run())
    await record.until("one")
    supervisor.request_stop()
    await task
    assert record.lines == [("a", "one"), ("a", "twoä\ufffd")]


async def test_a_child_that_ends_is_started_again() -> None:
    record = Recorder()
    supervisor = supervise(Child("a", (SH, "-c", "echo started; exit 3")), record=record, settled_seconds=0.0)
    task = asyncio.create_task(supervisor.run())
    await record.until("started", times=3)
    supervisor.request_stop()
    await task
    assert ("run", "a ended with status 3; starting it again in 0 s") in record.lines


async def test_a_child_that_does_not_listen_is_killed_with_all_it_started() -> None:
    record = Recorder()
    stubborn = (
        "trap '' TERM; sh -c 'trap \"\" TERM; echo pid $$; while :; do sleep 1; done' & while :; do sleep 1; done"
    )
    supervisor = supervise(Child("a", (SH, "-c", stubborn)), record=record, grace_seconds=0.2)
    task = asyncio.create_task(supervisor.run())
    await record.until("pid ")
    supervisor.request_stop()
    async with asyncio.timeout(10):
        await task
    grandchild = int(record.lines[0][1].split()[1])
    wait_until(lambda: not alive(grandchild))


async def test_a_second_request_stops_at_once() -> None:
    record = Recorder()
    supervisor = supervise(Child("a", (SH, "-c", "trap '' TERM; echo up; while :; do sleep 1; done")), record=record)
    task = asyncio.create_task(supervisor.run())
    await record.until("up")
    supervisor.request_stop()
    supervisor.request_stop()
    async with asyncio.timeout(10):
        await task


async def test_what_a_dead_child_left_behind_ends_before_it_is_started_again() -> None:
    record = Recorder()
    supervisor = supervise(
        Child("a", (SH, "-c", "sleep 600 & echo pid $!; exit 1")), record=record, settled_seconds=0.0
    )
    task = asyncio.create_task(supervisor.run())
    await record.until("pid ", times=2)
    first = int(record.lines[0][1].split()[1])
    assert not alive(first)
    supervisor.request_stop()
    await task


def test_a_killed_supervisor_takes_its_children_along() -> None:
    program = (
        "import asyncio, os, sys\n"
        "from imapped_site.supervisor import Child, Supervisor\n"
        "async def main():\n"
        "    tree = [Child('a', ('/bin/sh', '-c', 'echo $$; sleep 600'))]\n"
        "    await Supervisor(tree, environment=os.environ, write=lambda n, t: print(t, flush=True)).run()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=BASE_DIR, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert alive(child)
        process.kill()
    wait_until(lambda: not alive(child))


def test_the_tree_is_that_of_the_design() -> None:
    tree = children()
    assert [child.name for child in tree] == ["web", "imap", "worker", "slow", "beat", "watch"]
    assert all(child.stop_signal is signal.SIGTERM for child in tree)
    commands = {child.name: child.command for child in tree}
    assert "urgent,sync,index" in commands["worker"]
    assert "bulk" in commands["slow"]


@pytest.mark.parametrize("name", ["imapped_site.asgi", "imapped_site.celery"])
def test_entry_points_import(name: str) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import {name}"],
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
