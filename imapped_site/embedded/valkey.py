"""The embedded Valkey: start, wait until it answers, stop."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from imapped_site.embedded.identity import Identity
from imapped_site.embedded.process import ServerProcess, end_leftover, free_port, wait_for

_START_SECONDS = 60.0
_STOP = ((signal.SIGTERM, 10.0),)


class EmbeddedValkey:
    """A Valkey (or Redis) server with its snapshot in *directory*, on a loopback port of its own choice."""

    def __init__(
        self, directory: Path, *, program: Path, identity: Identity, password: str, ephemeral: bool = False
    ) -> None:
        self._directory = directory
        self._program = program
        self._identity = identity
        self._password = password
        self._ephemeral = ephemeral
        self._port = 0
        self._process = ServerProcess(
            "Valkey", identity=identity, log=directory.with_name("valkey.log"), directory=directory
        )

    @property
    def url(self) -> str:
        """What REDIS_URL has to be."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int | None:
        """Process id of the server."""
        return self._process.pid

    def alive(self) -> bool:
        """True while the server process runs."""
        return self._process.alive()

    def start(self) -> None:
        """Start the server and return when it answers; the port stays the same when it is started again."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._identity.take_over(self._directory)
        self._end_leftover()
        self._port = self._port or free_port()
        # On standard input, so that the password stands in no process list and no file.
        self._process.start(
            [self._program, "-"], death_signal=signal.SIGTERM, standard_input=self._configuration().encode()
        )
        if not wait_for(lambda: not self.alive() or self._answers(), seconds=_START_SECONDS) or not self.alive():
            self.stop()
            raise self._process.failure("did not start")

    def stop(self) -> None:
        """Stop the server; it writes its snapshot first unless it is ephemeral."""
        self._process.stop(((signal.SIGKILL, 10.0),) if self._ephemeral else _STOP)

    def _configuration(self) -> str:
        return "\n".join(
            [
                "bind 127.0.0.1",
                f"port {self._port}",
                f"requirepass {self._password}",
                "dir .",
                "pidfile server.pid",
                "daemonize no",
                'save ""' if self._ephemeral else "save 300 1 60 1000",
                "",
            ]
        )

    def _end_leftover(self) -> None:
        try:
            pid = int((self._directory / "server.pid").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return
        for program in ("valkey-server", "redis-server"):
            end_leftover(pid, program=program, directory=self._directory, steps=_STOP)

    def _answers(self) -> bool:
        """One PING by hand: a client library is not needed to know whether the server is ready."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    chunk = connection.recv(256)
                    if not chunk:
                        return False
                    answer += chunk
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"
