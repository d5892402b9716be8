"""The transport of the asyncio driver: a protocol that keeps what arrives, with back-pressure and timers."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import cast

from sync.signals import Signal
from sync.upstream.endpoint import Deadlines, Endpoint
from sync.upstream.errors import ConnectFailed, ConnectionLost, ProtocolViolation, TimedOut
from sync.upstream.protocol.requests import Deadline, Pause, Receive, Request, Send, StartTls
from sync.upstream.sockets import no_connection, set_socket_options
from sync.upstream.tls import client_context, tls_failed

_HIGH_WATER = 256 << 10


class Wire(asyncio.Protocol):
    """One connection. Reading pauses while more than ``_HIGH_WATER`` bytes wait to be taken."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False
        self._ended: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable = Signal()
        self._writable.set()
        self._deadline = Deadline("connect", 1.0, 1.0)
        self._expires = 0.0
        self._waits_until: float | None = None
        self._stopped = False
        self._is_patient = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Keep what arrived."""
        self._chunks.append(data)
        self._size += len(data)
        if self._size > _HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """The upstream will send nothing more."""
        self.connection_lost(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._ended is None:
            self._ended = exc or ConnectionError("closed by the upstream")
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The transport's buffer has room."""
        self._writable.set()

    def wait_at_most(self, seconds: float | None) -> None:
        """Let patient waiting end after ``seconds``."""
        self._waits_until = None if seconds is None else self._loop.time() + seconds

    def stop_waiting(self) -> None:
        """Let patient waiting end now, or the next one; other waiting is for an answer that will come."""
        self._stopped = True
        if self._is_patient:
            self._wake()

    def close(self) -> None:
        """Close at once; whoever waits for bytes is told."""
        self.connection_lost(None)
        if self._transport is not None:
            self._transport.abort()

    async def perform(self, request: Request) -> bytes | None:
        """Do what the protocol asks for."""
        if isinstance(request, Receive):
            return await (self._receive_patiently() if request.patient else self._receive())
        if isinstance(request, Deadline):
            self._deadline = request
            self._expires = self._loop.time() + request.seconds
        elif isinstance(request, Send):
            await self._send(request.data)
        elif isinstance(request, Pause):
            await self._pause(request.seconds)
        else:
            await self._start_tls(request)
        return b""

    async def _receive(self) -> bytes:
        if not self._chunks:
            remaining = self._expires - self._loop.time()
            if remaining <= 0:
                raise TimedOut(f"{self._deadline.what} took longer than {self._deadline.seconds:g} s")
            if not await self._wait(min(remaining, self._deadline.inactivity)):
                raise TimedOut(f"no answer for too long: {self._deadline.what}")
        return self._take()

    async def _receive_patiently(self) -> bytes | None:
        while not self._chunks and self._ended is None:
            if self._stopped:
                self._stopped = False
                return None
            now = self._loop.time()
            if self._waits_until is not None and self._waits_until <= min(now, self._expires):
                return None
            if self._expires <= now:
                return b""
            until = self._expires if self._waits_until is None else min(self._expires, self._waits_until)
            self._is_patient = True
            try:
                await self._wait(until - now)
            finally:
                self._is_patient = False
        return self._take()

    def _take(self) -> bytes:
        if not self._chunks:
            raise ConnectionLost(f"connection lost in {self._deadline.what}: {self._ended}") from self._ended
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def _wait(self, seconds: float) -> bool:
        """Wait until something happens; False when nothing did for ``seconds``."""
        if self._ended is not None:
            return True
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            timer.cancel()
        return bool(self._chunks) or self._ended is not None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _pause(self, seconds: float) -> None:
        until = self._loop.time() + seconds
        while self._ended is None and (remaining := until - self._loop.time()) > 0:
            await self._wait(remaining)

    async def _send(self, data: bytes) -> None:
        if self._ended is not None or self._transport is None:
            raise ConnectionLost(f"connection lost in {self._deadline.what}: {self._ended}") from self._ended
        self._transport.write(data)
        if not self._writable.is_set and not await self._writable.wait(self._deadline.inactivity):
            raise TimedOut(f"the upstream takes no more bytes: {self._deadline.what}")

    async def _start_tls(self, request: StartTls) -> None:
        if self._chunks or self._transport is None:
            raise ProtocolViolation("bytes were injected before TLS")
        context = client_context(self._endpoint.ca_file)
        try:
            async with asyncio.timeout(request.seconds):
                transport = await self._loop.start_tls(
                    self._transport,
                    self,
                    context,
                    server_hostname=self._endpoint.certificate_name,
                    ssl_handshake_timeout=request.seconds,
                )
        except TimeoutError:
            raise TimedOut("the TLS handshake took too long") from None
        except ssl.SSLError as error:
            raise tls_failed(error) from error
        except OSError as error:
            raise ConnectionLost(f"connection lost in the TLS handshake: {error}") from error
        if transport is None:
            raise ConnectionLost("connection lost in the TLS handshake")
        self._transport = transport
        # It has been checked, and names of hundreds of hosts would stay with each connection.
        (transport.get_extra_info("peercert") or {}).clear()


async def dial(endpoint: Endpoint, deadlines: Deadlines) -> Wire:
    """Connect to the first address that answers, all within one deadline."""
    loop = asyncio.get_running_loop()
    expires = loop.time() + deadlines.connect
    failure: OSError | None = None
    try:
        async with asyncio.timeout_at(expires):
            found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise TimedOut(f"{endpoint.host}: name resolution took too long") from error
    except (OSError, UnicodeError) as error:
        raise ConnectFailed(f"{endpoint.host}: name resolution failed: {error}") from error
    for index, (family, _, _, _, address) in enumerate(found):
        # An address that swallows packets must not use up the time of the others.
        share = (expires - loop.time()) / (len(found) - index)
        try:
            async with asyncio.timeout(share):
                transport, wire = await loop.create_connection(
                    lambda: Wire(endpoint), str(address[0]), endpoint.port, family=family
                )
        except OSError as error:
            failure = failure or error
        else:
            set_socket_options(transport.get_extra_info("socket"), inactivity=deadlines.inactivity)
            return wire
    raise no_connection(endpoint, deadlines, failure) from failure
