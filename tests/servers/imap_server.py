"""What the real IMAP servers of the tests have in common: two ports, any user, one password, an own directory."""

from __future__ import annotations

import contextlib
import imaplib
import os
import secrets
import shutil
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from mailcache.crypto.certificates import write_self_signed
from tests.waiting import wait_until

PASSWORD = "upstream-secret"
_DATE = datetime(2024, 5, 17, 8, 30, tzinfo=UTC)
_STOP_SECONDS = 20


class ImapServer(ABC):
    """A server on loopback, plain and TLS; it can be stopped and started again."""

    host = "127.0.0.1"
    password = PASSWORD

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.chmod(0o755)  # its processes run as another user when root tests
        self.plain_port, self.tls_port = free_port(), free_port()
        self.ca_file = directory / "cert.pem"
        write_self_signed(
            self.ca_file, directory / "key.pem", hostnames=["localhost", "127.0.0.1"], now=datetime.now(UTC)
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the master while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and return when connections are served."""
        with (self._directory / "output").open("ab") as output:
            # A session of its own, so that its children can be ended, and ending them ends nobody else.
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | self._environment(),
                start_new_session=True,
            )
        wait_until(self._greets)

    def stop(self) -> None:
        """Stop; connections end."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.wait(timeout=_STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process = None

    @contextlib.contextmanager
    def login(self, user: str) -> Iterator[imaplib.IMAP4]:
        """Yield a logged-in imaplib client."""
        client = imaplib.IMAP4(self.host, self.plain_port, timeout=60)
        try:
            client.login(user, self.password)
            yield client
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                client.logout()

    def deliver(
        self,
        user: str,
        message: bytes,
        mailbox: str = "INBOX",
        *,
        flags: tuple[str, ...] = (),
        internal_date: datetime = _DATE,
    ) -> None:
        """Put a message into a mailbox of a user."""
        with self.login(user) as client:
            stamp = internal_date.strftime('"%d-%b-%Y %H:%M:%S %z"')
            status, answer = client.append(f'"{mailbox}"', f"({' '.join(flags)})", stamp, message)
            assert status == "OK", answer

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the command that runs it in the foreground."""

    def _environment(self) -> dict[str, str]:
        """Return what its environment needs beside ours."""
        return {}

    def _greets(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            output = (self._directory / "output").read_text(errors="replace")
            raise AssertionError(f"{type(self).__name__} ended: {output}")
        try:
            with socket.create_connection((self.host, self.plain_port), timeout=5) as connection:
                return connection.recv(4) == b"* OK"
        except OSError:
            return False


AnyServer = TypeVar("AnyServer", bound=ImapServer)


@contextlib.contextmanager
def running(server: AnyServer, directory: Path) -> Iterator[AnyServer]:
    """Yield ``server`` started; it is stopped and its directory removed at the end."""
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def new_user() -> str:
    """Return a user name that no test has used."""
    return f"user-{secrets.token_hex(6)}"


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
