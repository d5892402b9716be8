"""One server process: start it under an identity, know whether it lives, stop it, end what an earlier start left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from imapped_site.embedded.errors import EmbeddedError
from imapped_site.embedded.identity import Identity

_POLL_SECONDS = 0.02


def free_port() -> int:
    """A TCP port on the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Ask *condition* until it is true or *seconds* have passed; the last answer is returned."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


class ServerProcess:
    """A child process whose output goes to *log*; it gets *death_signal* when this process dies."""

    def __init__(self, name: str, *, identity: Identity, log: Path, directory: Path) -> None:
        self.name = name
        self._identity = identity
        self._log = log
        self._directory = directory
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, or None if it does not run."""
        return self._child.pid if self._child is not None and self.alive() else None

    def alive(self) -> bool:
        """True while the process runs."""
        return self._child is not None and self._child.poll() is None

    def start(
        self, command: Sequence[str | Path], *, death_signal: signal.Signals, standard_input: bytes = b""
    ) -> None:
        """Start *command* with a small clean environment and *standard_input* to read."""
        self._log.touch(mode=0o600)
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                env=clean_environment(),
                **self._identity.popen_options(death_signal=death_signal),
            )
        if self._child.stdin is not None:
            with self._child.stdin as pipe:
                pipe.write(standard_input)

    def stop(self, steps: Sequence[tuple[signal.Signals, float]]) -> None:
        """Send each signal in turn, waiting its seconds for the end; SIGKILL is the last step."""
        child, self._child = self._child, None
        if child is None:
            return
        for number, seconds in (*steps, (signal.SIGKILL, 10.0)):
            if child.poll() is None:
                child.send_signal(number)
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            return

    def failure(self, what: str) -> EmbeddedError:
        """An error with the end of the log, for a server that did not come up."""
        tail = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:] if self._log.exists() else []
        return EmbeddedError("\n  ".join([f"{self.name} {what}; the end of {self._log}:", *tail]))


def clean_environment() -> dict[str, str]:
    """What servers see of the environment: nothing that could change how they start."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def end_leftover(pid: int, *, program: str, directory: Path, steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """End process *pid* if it is a *program* that works in *directory*: an earlier launcher that was killed left it."""
    if not _is_ours(pid, program, directory):
        return
    # It was told to stop when its launcher died, and is probably at it.
    for number, seconds in ((None, 1.0), *steps, (signal.SIGKILL, 10.0)):
        if number is not None:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return
        if wait_for(lambda: not _is_ours(pid, program, directory), seconds=seconds):
            return
    raise EmbeddedError(f"{program} (process {pid}) of an earlier start does not end; it uses {directory}")


def _is_ours(pid: int, program: str, directory: Path) -> bool:
    """True if *pid* is a living *program* whose working directory is *directory*."""
    process = Path("/proc") / str(pid)
    try:
        name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
        state = (process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
        return program.startswith(name) and state != "Z" and (process / "cwd").resolve() == directory.resolve()
    except OSError:
        return False
