"""The fake Gmail's sockets: one thread per connection, the limit on connections, and the record of commands."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.fakes.gmail.account import GmailAccount
from tests.fakes.gmail.mail import ENGLISH, SystemNames
from tests.fakes.gmail.session import Session

USER = "someone@gmail.example"
PASSWORD = "app password"


class FakeGmail:
    """A server with one account; a context manager. Written from Gmail's documentation and the field notes.

    ``account`` is what people do on the web. ``commands`` records every command without its tag, ``bodies`` counts by
    X-GM-MSGID how often a whole message was sent, and ``body_order`` which ones one command asked for.
    """

    def __init__(self, names: SystemNames = ENGLISH) -> None:
        self.account = GmailAccount(names)
        self.account.on_change = self._announce
        self.commands: list[bytes] = []
        self.bodies: Counter[int] = Counter()
        self.body_order: list[list[int]] = []
        self.credentials = (USER, PASSWORD)
        self.connections_allowed = 15
        self.search_limit: int | None = None
        """An unbounded SEARCH of more messages than this ends as a timeout does: with the connection."""
        self._sessions: set[Session] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Serve, until ``close``."""
        self._start(self._accept)

    def close(self) -> None:
        """End all connections, and the server."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for session in list(self._sessions):
            session.hang_up()
        for thread in self._threads:
            thread.join(timeout=10)

    def begin_anew(self) -> GmailAccount:
        """Have an account without mail in place of the one before, for connections that come; returns it."""
        self.account = GmailAccount(self.account.names)
        self.account.on_change = self._announce
        return self.account

    def asked(self, beginning: bytes) -> list[bytes]:
        """Return the commands that began so."""
        return [command for command in self.commands if command.upper().startswith(beginning.upper())]

    def forget(self) -> None:
        """Begin a new record."""
        self.commands.clear()
        self.bodies.clear()
        self.body_order.clear()

    def may_log_in(self) -> bool:
        """Tell whether one connection more is within the account's limit."""
        return sum(session.logged_in for session in list(self._sessions)) < self.connections_allowed

    def _announce(self) -> None:
        for session in list(self._sessions):
            session.announce()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = Session(self, connection)
        with self._lock:
            self._sessions.add(session)
        try:
            session.serve()
        except OSError:
            pass  # the client went away
        finally:
            with self._lock:
                self._sessions.discard(session)
            session.hang_up()
            connection.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="fake-gmail", daemon=True)
        self._threads.append(thread)
        thread.start()
