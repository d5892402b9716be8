"""A foreground tree of child processes: output passed on, the dead restarted, all stopped in bounded time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imapped_site.embedded.identity import before_exec

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_READ_BYTES = 64 * 1024
_LINE_LIMIT = 64 * 1024
_OUTPUT_SECONDS = 2.0

Write = Callable[[str, str], None]
"""Gets the name of a child (or of the supervisor) and one line of its output."""


@dataclass(frozen=True, slots=True)
class Child:
    """One long-running process. *death_signal* is what the kernel sends it when the supervisor itself is killed."""

    name: str
    command: Sequence[str]
    death_signal: signal.Signals = signal.SIGTERM
    stop_signal: signal.Signals = signal.SIGTERM


def restart_pause(failures: int) -> float:
    """Seconds to wait before the next start after so many quick ends in a row: 1, 2, 4 ... 30."""
    return min(_FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 10), _LONGEST_PAUSE_SECONDS)


class Supervisor:
    """Keeps *children* running until ``stop`` is set, then ends them all within *grace_seconds*."""

    def __init__(
        self,
        children: Sequence[Child],
        *,
        environment: Mapping[str, str],
        write: Write,
        grace_seconds: float = 30.0,
        settled_seconds: float = 60.0,
    ) -> None:
        self._children = children
        self._environment = environment
        self._write = write
        self._grace_seconds = grace_seconds
        self._settled_seconds = settled_seconds
        self.stop = asyncio.Event()
        self.stop_at_once = asyncio.Event()

    def request_stop(self) -> None:
        """End the children politely; asked a second time, at once."""
        if self.stop.is_set():
            self.stop_at_once.set()
        self.stop.set()

    async def run(self) -> None:
        """Return when ``stop`` was set and every child has ended."""
        try:
            async with asyncio.TaskGroup() as group:
                for child in self._children:
                    group.create_task(self._keep(child))
        finally:
            self.stop.set()

    async def _keep(self, child: Child) -> None:
        failures = 0
        while not self.stop.is_set():
            started = time.monotonic()
            status = await self._run_once(child)
            if self.stop.is_set():
                return
            failures = 0 if time.monotonic() - started >= self._settled_seconds else failures + 1
            pause = restart_pause(failures - 1) if failures else 0.0
            self._write("run", f"{child.name} {_describe(status)}; starting it again in {pause:.0f} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), pause)

    async def _run_once(self, child: Child) -> int:
        """Run *child* until it ends or a stop is asked for; whatever it has started ends with it."""
        process = _start(child, self._environment)
        ended = _end_of(process)
        output = asyncio.create_task(self._pass_on(child.name, process))
        try:
            await self._wait(ended, self.stop, seconds=None)
            if not ended.done():
                process.send_signal(child.stop_signal)
                await self._wait(ended, self.stop_at_once, seconds=self._grace_seconds)
        finally:
            _kill_group(process.pid)
            status = await ended
            # A process that left the group could hold the pipe open: that is no reason to wait for ever.
            await asyncio.wait({output}, timeout=_OUTPUT_SECONDS)
            output.cancel()
        return status

    async def _wait(self, ended: asyncio.Future[int], event: asyncio.Event, *, seconds: float | None) -> None:
        """Until the process has ended, *event* is set or *seconds* have passed."""
        waiter = asyncio.create_task(event.wait())
        waited: set[asyncio.Future[Any]] = {ended, waiter}
        await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()

    async def _pass_on(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Write the output of *process* line by line; a line without end is cut at its limit."""
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), process.stdout
        )
        pending = b""
        try:
            pending = await self._pass_on_lines(name, stream)
        finally:
            transport.close()
        self._write_lines(name, [pending])

    async def _pass_on_lines(self, name: str, stream: asyncio.StreamReader) -> bytes:
        """Write whole lines; what comes after the last one is returned."""
        pending = b""
        while chunk := await stream.read(_READ_BYTES):
            *lines, pending = (pending + chunk).split(b"\n")
            if len(pending) > _LINE_LIMIT:
                lines, pending = [*lines, pending], b""
            self._write_lines(name, lines)
        return pending

    def _write_lines(self, name: str, lines: Sequence[bytes]) -> None:
        for line in lines:
            if text := line.decode("utf-8", "replace").rstrip():
                self._write(name, text)


def _start(child: Child, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        child.command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the supervisor, which stops children itself
        preexec_fn=before_exec(death_signal=child.death_signal),
    )


def _end_of(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """The exit status to come. asyncio's own would not come before the last holder of the output pipe is gone."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def wait() -> None:
        status = process.wait()
        loop.call_soon_threadsafe(ended.set_result, status)

    threading.Thread(target=wait, name=f"wait-{process.pid}", daemon=True).start()
    return ended


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _describe(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
