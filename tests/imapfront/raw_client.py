"""A client that sends bytes and waits for lines: for what well-behaved libraries cannot do."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

from tests.builders import PASSWORD
from tests.imapfront.frontend import HOST


class RawClient:
    """A connection to a port of loopback; a context manager."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=30)
        self._file = self._socket.makefile("rb")
        self.greeting = self.line()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self._socket.close()

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes."""
        return self._file.read(size)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def line(self) -> bytes:
        """Return the next line, without its CRLF; nothing at the end of the connection."""
        return self._file.readline().removesuffix(b"\r\n")

    def until(self, start: bytes) -> list[bytes]:
        """Return lines up to and with the one that begins with ``start``."""
        lines = [self.line()]
        while not lines[-1].startswith(start):
            assert lines[-1], lines
            lines.append(self.line())
        return lines

    def command(self, text: bytes) -> list[bytes]:
        """Send a command and return the lines of its answer."""
        self.send(b"t " + text + b"\r\n")
        return self.until(b"t ")

    def login(self, user: str) -> None:
        """Log in with the password of tests."""
        answer = self.command(b'LOGIN "%b" "%b"' % (user.encode(), PASSWORD.encode()))
        assert answer[-1].startswith(b"t OK"), answer
