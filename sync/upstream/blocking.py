"""The blocking driver of the upstream protocol: one socket, for workers."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

from sync.upstream.endpoint import Credentials, Deadlines, Endpoint
from sync.upstream.errors import (
    CommandRefused,
    ConnectFailed,
    ConnectionLost,
    ConnectionPoisoned,
    NotOffered,
    TimedOut,
    UpstreamError,
)
from sync.upstream.protocol import fetch, idle, login, mailboxes, search
from sync.upstream.protocol.requests import Deadline, Receive, Request, Send, StartTls, Steps
from sync.upstream.protocol.session import Session
from sync.upstream.sockets import no_connection, set_socket_options
from sync.upstream.tls import client_context, tls_failed
from sync.upstream.values import (
    IdleEvent,
    ListedMailbox,
    Namespaces,
    OnMessage,
    OpenSink,
    SelectedMailbox,
    Statistics,
)

T = TypeVar("T")
_CHUNK = 128 << 10
# A TLS record holds no more; asking for more costs a large allocation for each.
_TLS_CHUNK = 16 << 10


class BlockingClient:
    """An authenticated connection to an upstream. Not for several threads.

    Once anything failed in the middle of a command, the connection is closed, and every later call raises
    ``ConnectionPoisoned``; a command that the upstream refused (``CommandRefused``) leaves it usable.
    """

    def __init__(self, wire: _Wire, session: Session) -> None:
        self._wire = wire
        self._session = session
        self._fault: BaseException | None = None
        self._closed = False
        self._busy = False

    @classmethod
    def connect(cls, endpoint: Endpoint, credentials: Credentials, deadlines: Deadlines | None = None) -> Self:
        """Connect and log in; raises ``UpstreamError``."""
        deadlines = deadlines or Deadlines()
        wire = _Wire(_dial(endpoint, deadlines), endpoint)
        client = cls(wire, Session(deadlines))
        try:
            if endpoint.tls_mode == "tls":
                client._run(_tls_first(deadlines))
            client._run(login.establish(client._session, endpoint, credentials))
        except BaseException:
            client.close()
            raise
        return client

    @property
    def capabilities(self) -> frozenset[str]:
        """What the upstream offers on this connection, in upper case."""
        return self._session.capabilities

    @property
    def selected(self) -> SelectedMailbox | None:
        """The mailbox that is open."""
        return self._session.selected

    @property
    def statistics(self) -> Statistics:
        """What this connection has done so far."""
        return self._session.statistics

    @property
    def poisoned(self) -> bool:
        """True once the connection cannot be used any more."""
        return self._closed

    def namespaces(self) -> Namespaces:
        """NAMESPACE; empty where it is not offered."""
        return self._run(mailboxes.namespaces(self._session))

    def list_mailboxes(self, reference: bytes = b"", pattern: bytes = b"*") -> list[ListedMailbox]:
        """LIST, with special uses where offered."""
        return self._run(mailboxes.list_mailboxes(self._session, reference, pattern))

    def examine(self, name_raw: bytes) -> SelectedMailbox:
        """Open a mailbox to read."""
        return self._run(mailboxes.select(self._session, name_raw, read_only=True))

    def select(self, name_raw: bytes) -> SelectedMailbox:
        """Open a mailbox to read and write."""
        return self._run(mailboxes.select(self._session, name_raw, read_only=False))

    def uid_search(self, criteria: bytes = b"ALL") -> list[int]:
        """Return the UIDs that match, ascending."""
        return self._run(search.uid_search(self._session, criteria))

    def uid_fetch(
        self, uids: Sequence[int], items: bytes, *, on_message: OnMessage, open_sink: OpenSink | None = None
    ) -> None:
        """Fetch ``items`` (``b"(UID FLAGS)"``), passing each response to ``on_message`` as it comes.

        Responses may come in any order, in several parts for one message, or not at all. ``open_sink`` may give each
        section a sink to be streamed into; what a sink got is whole only when ``on_message`` names it.
        """
        self._run(fetch.uid_fetch(self._session, uids, items, on_message, open_sink))

    def noop(self) -> list[IdleEvent]:
        """NOOP; returns what the upstream announced since the last ``noop`` or ``idle``."""
        return self._run(idle.noop(self._session))

    def idle(self, *, seconds: float | None = None) -> Iterator[IdleEvent]:
        """Yield announcements as they come, for ``seconds`` or without end; IDLE stays on until the next command."""
        self._wire.waits_until = None if seconds is None else time.monotonic() + seconds
        while (events := self._run(idle.wait(self._session))) is not None:
            yield from events

    def logout(self) -> None:
        """Say goodbye and close; never raises ``UpstreamError``."""
        try:
            self._run(login.log_out(self._session))
        except UpstreamError:
            return
        finally:
            self.close()

    def close(self) -> None:
        """Close without a word. Another thread may call this: a read that waits for bytes ends."""
        self._closed = True
        self._wire.shut_down()
        if not self._busy:
            self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.logout()
        else:
            self.close()

    def _run(self, steps: Steps[T]) -> T:
        if self._closed:
            raise ConnectionPoisoned("the connection failed before or was closed") from self._fault
        if self._busy:
            raise RuntimeError("an upstream connection serves one command at a time")
        self._busy = True
        try:
            reply: bytes | None = None
            while True:
                reply = self._wire.perform(steps.send(reply))
                if reply:
                    self._session.statistics.bytes_in += len(reply)
        except StopIteration as done:
            result: T = done.value
            return result
        except (CommandRefused, NotOffered):
            raise
        except BaseException as fault:
            # Also an interrupt and a fault of the caller's sink: what was not read would be taken for the next answer.
            self._fault = self._fault or fault
            self._closed = True
            raise
        finally:
            self._busy = False
            if self._closed:
                self._wire.close()


class _Wire:
    """The socket and its timers."""

    def __init__(self, connection: socket.socket, endpoint: Endpoint) -> None:
        self._connection = connection
        self._endpoint = endpoint
        self._deadline = Deadline("connect", 1.0, 1.0)
        self._expires = 0.0
        self._chunk = _CHUNK
        self.waits_until: float | None = None

    def perform(self, request: Request) -> bytes | None:
        """Do what the protocol asks for."""
        if isinstance(request, Receive):
            return self._receive_patiently() if request.patient else self._receive()
        if isinstance(request, Deadline):
            self._deadline = request
            self._expires = time.monotonic() + request.seconds
        elif isinstance(request, Send):
            self._send(request.data)
        else:
            self._start_tls(request)
        return b""

    def shut_down(self) -> None:
        """End the connection but keep the descriptor, which a thread that waits for bytes still uses."""
        with contextlib.suppress(OSError):
            # Not SSLSocket.shutdown, which would take the TLS layer away under that thread.
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back."""
        self._connection.close()

    def _receive(self) -> bytes:
        remaining = self._expires - time.monotonic()
        if remaining <= 0:
            raise TimedOut(f"{self._deadline.what} took longer than {self._deadline.seconds:g} s")
        self._connection.settimeout(min(remaining, self._deadline.inactivity))
        try:
            data = self._connection.recv(self._chunk)
        except TimeoutError:
            raise TimedOut(f"no answer for too long: {self._deadline.what}") from None
        except OSError as error:
            raise ConnectionLost(f"connection lost in {self._deadline.what}: {error}") from error
        if not data:
            raise ConnectionLost(f"the upstream closed the connection in {self._deadline.what}")
        return data

    def _receive_patiently(self) -> bytes | None:
        now = time.monotonic()
        until = self._expires if self.waits_until is None else min(self._expires, self.waits_until)
        if until <= now:
            return b"" if self.waits_until is None or self._expires < self.waits_until else None
        self._connection.settimeout(until - now)
        try:
            data = self._connection.recv(self._chunk)
        except TimeoutError:
            return self._receive_patiently()
        except OSError as error:
            raise ConnectionLost(f"connection lost in IDLE: {error}") from error
        if not data:
            raise ConnectionLost("the upstream closed the connection in IDLE")
        return data

    def _send(self, data: bytes) -> None:
        self._connection.settimeout(max(0.001, min(self._expires - time.monotonic(), self._deadline.inactivity)))
        try:
            self._connection.sendall(data)
        except TimeoutError:
            raise TimedOut(f"the upstream takes no more bytes: {self._deadline.what}") from None
        except OSError as error:
            raise ConnectionLost(f"connection lost in {self._deadline.what}: {error}") from error

    def _start_tls(self, request: StartTls) -> None:
        context = client_context(self._endpoint.ca_file)
        self._connection.settimeout(request.seconds)
        try:
            self._connection = context.wrap_socket(
                self._connection, server_hostname=self._endpoint.certificate_name, suppress_ragged_eofs=False
            )
            self._chunk = _TLS_CHUNK
        except TimeoutError:
            raise TimedOut("the TLS handshake took too long") from None
        except ssl.SSLError as error:
            raise tls_failed(error) from error
        except OSError as error:
            raise ConnectionLost(f"connection lost in the TLS handshake: {error}") from error


def _tls_first(deadlines: Deadlines) -> Steps[None]:
    yield StartTls(deadlines.tls)


def _dial(endpoint: Endpoint, deadlines: Deadlines) -> socket.socket:
    """Connect to the first address that answers, all within one deadline."""
    expires = time.monotonic() + deadlines.connect
    try:
        addresses = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConnectFailed(f"{endpoint.host}: name resolution failed: {error}") from error
    failure: OSError | None = None
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        connection = socket.socket(family, kind, protocol)
        try:
            # An address that swallows packets must not use up the time of the others.
            connection.settimeout(max(0.001, (expires - time.monotonic()) / (len(addresses) - index)))
            connection.connect(address)
            set_socket_options(connection, inactivity=deadlines.inactivity)
        except OSError as error:
            connection.close()
            failure = failure or error
        else:
            return connection
    raise no_connection(endpoint, deadlines, failure) from failure
