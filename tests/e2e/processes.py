"""Real processes of imapped under a test: started, stopped by their process id, their output kept."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from imapped_site.embedded.identity import before_exec
from imapped_site.settings.sources import BASE_DIR

_STOP_SECONDS = 45.0
_TAIL_BYTES = 6000
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


class ManagedProcess:
    """One process with a session of its own, its output in a file."""

    def __init__(self, name: str, command: Sequence[str], *, environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=BASE_DIR,
                start_new_session=True,
                preexec_fn=before_exec(death_signal=signal.SIGKILL),
            )
        self._began_at = log.stat().st_size

    @property
    def pid(self) -> int:
        """Process id; also the id of its session."""
        return self._process.pid

    def alive(self) -> bool:
        """Tell whether it still runs."""
        return self._process.poll() is None

    def output(self) -> str:
        """Return what this process has written."""
        with self.log.open("rb") as log:
            log.seek(self._began_at)
            return log.read().decode(errors="replace")

    def says(self, text: str) -> bool:
        """Tell whether it has written ``text``; fails the test when it has ended without."""
        output = self.output()
        if text not in output and not self.alive():
            raise AssertionError(f"{self.name} ended with {self._process.returncode}:\n{output[-_TAIL_BYTES:]}")
        return text in output

    def stop(self) -> int:
        """End it politely, and everything in its session for certain; returns its exit status."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._end_session()
        return self._process.returncode

    def kill(self) -> None:
        """SIGKILL it and everything in its session."""
        self._end_session()
        self._process.wait(_STOP_SECONDS)

    def tail(self) -> str:
        """Return the end of its output."""
        return self.output()[-_TAIL_BYTES:]

    def _end_session(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def session_processes(pid: int) -> set[int]:
    """Return the living processes of the session that ``pid`` leads, itself included."""
    found: set[int] = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # ended meanwhile
            fields = status.read_text(errors="replace").rpartition(")")[2].split()
            if fields[0] != "Z" and int(fields[3]) == pid:
                found.add(int(status.parent.name))
    return found


def session_memory(pid: int) -> int:
    """Return the proportional set size, in octets, of the session that ``pid`` leads."""
    total = 0
    for member in session_processes(pid):
        with contextlib.suppress(OSError):  # ended meanwhile
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                name, _, value = line.partition(":")
                total += int(value.split()[0]) * 1024 if name == "Pss" else 0
    return total


def peak_memory(pid: int) -> int:
    """Return the largest resident set, in octets, that any process of the session that ``pid`` leads has had."""
    peaks = []
    for member in session_processes(pid):
        with contextlib.suppress(OSError):  # ended meanwhile
            found = _PEAK.search(Path(f"/proc/{member}/status").read_text())
            peaks.append(int(found[1]) * 1024 if found else 0)
    return max(peaks)


def owner_of_connection(pids: set[int], *, server_port: int, client_port: int) -> int:
    """Return which of ``pids`` serves the TCP connection on loopback with these two ports."""
    fields = _socket(server_port, client_port)
    assert fields is not None, f"no connection {client_port} -> {server_port}"
    for pid in pids:
        with contextlib.suppress(OSError):  # ended meanwhile
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):  # closed meanwhile
                    if descriptor.readlink().name == f"socket:[{fields[9]}]":
                        return pid
    raise AssertionError(f"none of {sorted(pids)} serves the connection {client_port} -> {server_port}")


def has_read_all(*, local_port: int, remote_port: int) -> bool:
    """Tell whether the owner of the local end of a TCP connection on loopback has taken all that came, or is gone."""
    fields = _socket(local_port, remote_port)
    return fields is None or int(fields[4].partition(":")[2], 16) == 0


def _socket(local_port: int, remote_port: int) -> list[str] | None:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports = [int(address.rpartition(":")[2], 16) for address in fields[1:3]]
        if ports == [local_port, remote_port]:
            return fields
    return None


def children_of(pid: int) -> set[int]:
    """Return the processes that ``pid`` has started."""
    found: set[int] = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # ended meanwhile
            if int(status.read_text(errors="replace").rpartition(")")[2].split()[1]) == pid:
                found.add(int(status.parent.name))
    return found
