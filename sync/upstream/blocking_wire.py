"""The transport of the blocking driver: one socket and its timers."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time

from sync.upstream.endpoint import Deadlines, Endpoint
from sync.upstream.errors import ConnectFailed, ConnectionLost, TimedOut
from sync.upstream.protocol.requests import Deadline, Pause, Receive, Request, Send, StartTls
from sync.upstream.sockets import no_connection, set_socket_options
from sync.upstream.tls import client_context, tls_failed

_CHUNK = 128 << 10
# A TLS record holds no more; asking for more costs a large allocation for each.
_TLS_CHUNK = 16 << 10


class Wire:
    """The socket and its timers."""

    def __init__(self, connection: socket.socket, endpoint: Endpoint) -> None:
        self._connection = connection
        self._endpoint = endpoint
        self._deadline = Deadline("connect", 1.0, 1.0)
        self._expires = 0.0
        self._chunk = _CHUNK
        self._closing = threading.Event()
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
        elif isinstance(request, Pause):
            self._pause(request.seconds)
        else:
            self._start_tls(request)
        return b""

    def shut_down(self) -> None:
        """End the connection but keep the descriptor, which a thread that waits for bytes still uses."""
        self._closing.set()
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

    def _pause(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise ConnectionLost("the connection was closed in a pause")

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


def dial(endpoint: Endpoint, deadlines: Deadlines) -> socket.socket:
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
