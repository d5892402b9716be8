"""A foreground tree of child processes: output passed on, the dead restarted, all stopped in bounded time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from imapped_site.embedded.identity import before_exec

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_READ_BYTES = 64 * 1024
_LINE_LIMIT = 64 * 1024

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
        process = await asyncio.create_subprocess_exec(
            *child.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,  # Ctrl-C is for the supervisor, which stops children itself
            preexec_fn=before_exec(death_signal=child.death_signal),
        )
        output = asyncio.create_task(self._pass_on(child.name, process.stdout))
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait({ended, stopping, output}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done() and self.stop.is_set():
                await self._end(process, ended, child.stop_signal)
            return await ended
        finally:
            _signal_group(process.pid, signal.SIGKILL)
            stopping.cancel()
            await asyncio.gather(ended, stopping, return_exceptions=True)
            await output

    async def _end(
        self, process: asyncio.subprocess.Process, ended: asyncio.Task[int], stop_signal: signal.Signals
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(stop_signal)
        at_once = asyncio.create_task(self.stop_at_once.wait())
        await asyncio.wait({ended, at_once}, timeout=self._grace_seconds, return_when=asyncio.FIRST_COMPLETED)
        at_once.cancel()
        if not ended.done():
            _signal_group(process.pid, signal.SIGKILL)

    async def _pass_on(self, name: str, stream: asyncio.StreamReader | None) -> None:
        """Write *stream* line by line; a line without end is cut at its limit."""
        pending = b""
        while stream is not None and (chunk := await stream.read(_READ_BYTES)):
            *lines, pending = (pending + chunk).split(b"\n")
            if len(pending) > _LINE_LIMIT:
                lines, pending = [*lines, pending], b""
            self._write_lines(name, lines)
        self._write_lines(name, [pending])

    def _write_lines(self, name: str, lines: Sequence[bytes]) -> None:
        for line in lines:
            if text := line.decode("utf-8", "replace").rstrip():
                self._write(name, text)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _describe(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
