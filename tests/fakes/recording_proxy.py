"""A TCP proxy on loopback that records the IMAP spoken through it, and can fail on request."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self

_READ_BYTES = 1 << 16
_KEPT_BYTES = 1 << 14
_TIMEOUT_SECONDS = 20.0
_LITERAL = re.compile(rb"\{(\d+)\+?\}\Z")
_COMMAND = re.compile(rb"([^\s+*(){%\"\\]+) ([A-Za-z]+)(?: (.*))?\Z", re.DOTALL)
_SECRET_VERBS = frozenset({"LOGIN", "AUTHENTICATE"})
_FETCHED_UID = re.compile(rb"\bUID (\d+)")
_WHOLE_BODY = re.compile(rb"\b(?:BODY\[\](?:<0>)?|RFC822) [{\"]", re.IGNORECASE)


class Side(Enum):
    """Who sent a line."""

    CLIENT = "C"
    SERVER = "S"


@dataclass(frozen=True, slots=True)
class Line:
    """One line with its literals left out (``{n}`` stays); ``order`` counts over all connections and both sides."""

    order: int
    connection: int
    side: Side
    text: bytes
    seconds: float
    """On the clock of ``time.monotonic``."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a client; arguments of LOGIN and AUTHENTICATE are not kept."""

    order: int
    connection: int
    tag: str
    verb: str
    """In capitals; ``UID FETCH`` for the commands that begin with UID."""
    arguments: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class FetchedBody:
    """A whole message that the server began to send; ``mailbox`` as the client spelled it."""

    order: int
    connection: int
    mailbox: bytes
    uid: int


class LineCutter:
    """Cuts one direction of a connection into lines, stepping over literals."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._skip = 0
        self._waiting = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now."""
        lines: list[bytes] = []
        position = 0
        while position < len(data):
            if self._skip:
                step = min(self._skip, len(data) - position)
                self._skip -= step
                position += step
                continue
            end = data.find(b"\n", position)
            self._line += data[position : len(data) if end < 0 else end + 1]
            if end < 0:
                break
            position = end + 1
            self._end_of_line(lines)
        return lines

    def _end_of_line(self, lines: list[bytes]) -> None:
        text = bytes(self._line).rstrip(b"\r\n")
        self._line.clear()
        literal = _LITERAL.search(text)
        whole = (self._waiting + text)[:_KEPT_BYTES]
        if literal is not None:
            self._skip, self._waiting = int(literal[1]), whole
            return
        self._waiting = b""
        lines.append(whole)


class RecordingProxy:
    """Forwards connections to an upstream that speaks plaintext; a context manager, each connection on two threads."""

    host = "127.0.0.1"

    def __init__(self, upstream_host: str, upstream_port: int) -> None:
        self._upstream = (upstream_host, upstream_port)
        self._lock = threading.Lock()
        self._lines: list[Line] = []
        self._open: dict[int, tuple[socket.socket, socket.socket]] = {}
        self._numbers = itertools.count(1)
        self._flowing = threading.Event()
        self._flowing.set()
        self._bytes_per_second: float | None = None
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = _listen(0)
        self.port = int(self._listener.getsockname()[1])
        self._spawn(self._accept, self._listener)

    def lines(self) -> tuple[Line, ...]:
        """Return everything recorded so far, in order."""
        with self._lock:
            return tuple(self._lines)

    def commands(self, *verbs: str) -> list[Command]:
        """Return the commands of all clients in order; with ``verbs`` only those."""
        found = [command for line in self.lines() if (command := as_command(line)) is not None]
        return [command for command in found if not verbs or command.verb in verbs]

    def counts(self) -> Counter[str]:
        """Return how often each verb was sent."""
        return Counter(command.verb for command in self.commands())

    def fetched_bodies(self) -> list[FetchedBody]:
        """Return the whole messages that the server sent, also those of which only the beginning came through."""
        selected: dict[int, bytes] = {}
        found: list[FetchedBody] = []
        for line in self.lines():
            command = as_command(line)
            if command is not None and command.verb in {"SELECT", "EXAMINE"}:
                selected[line.connection] = command.arguments
            if line.side is Side.SERVER and b" FETCH (" in line.text[:32] and _WHOLE_BODY.search(line.text):
                uid = _FETCHED_UID.search(line.text)
                if uid is None:
                    raise AssertionError(f"a message without UID: {line.text[:200]!r}")
                found.append(FetchedBody(line.order, line.connection, selected[line.connection], int(uid[1])))
        return found

    def connections(self) -> set[int]:
        """Return the numbers of the connections that are open now."""
        with self._lock:
            return set(self._open)

    def pause(self) -> None:
        """Hold everything back, in both directions, without closing anything."""
        self._flowing.clear()

    def resume(self) -> None:
        """Let it flow again."""
        self._flowing.set()

    def slow_down(self, bytes_per_second: float | None) -> None:
        """Let each connection's server send no faster than this; None is as fast as it comes."""
        self._bytes_per_second = bytes_per_second

    def cut(self) -> None:
        """Close every connection, as a failing network does."""
        with self._lock:
            pairs = list(self._open.values())
        for pair in pairs:
            _close(*pair)

    def refuse(self) -> None:
        """Refuse new connections; open ones stay."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            _close(listener)

    def allow(self) -> None:
        """Take new connections again, on the same port."""
        with self._lock:
            if self._listener is not None or self._closing.is_set():
                return
            self._listener = _listen(self.port)
            listener = self._listener
        self._spawn(self._accept, listener)

    def close(self) -> None:
        """End everything and wait for the threads."""
        self._closing.set()
        self.refuse()
        self.resume()
        self.cut()
        for thread in self._threads:
            thread.join(_TIMEOUT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=target, args=arguments, name="recording-proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = listener.accept()
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._upstream, timeout=_TIMEOUT_SECONDS)
        except OSError:
            _close(client)
            return
        server.settimeout(None)
        for each in (client, server):
            # What comes in several writes would wait for the acknowledgement of the first, 40 ms each time.
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = next(self._numbers)
        with self._lock:
            self._open[number] = (client, server)
        self._serve(number, client, server)
        if self._closing.is_set():
            _close(client, server)

    def _serve(self, number: int, client: socket.socket, server: socket.socket) -> None:
        """Begin to pass on, in both directions."""
        self._spawn(self._pump, number, client, server, Side.CLIENT)
        self._spawn(self._pump, number, server, client, Side.SERVER)

    def _pump(self, number: int, source: socket.socket, target: socket.socket, side: Side) -> None:
        cutter = LineCutter()
        with contextlib.suppress(OSError):  # either end closed
            while data := source.recv(_READ_BYTES):
                self._flowing.wait()
                # Recorded before it is passed on, so that no answer is recorded before its command.
                self._record(number, side, cutter.feed(data))
                target.sendall(data)
                if side is Side.SERVER and (rate := self._bytes_per_second):
                    self._closing.wait(len(data) / rate)
        self._ended(number, source, target)

    def _ended(self, number: int, *sockets: socket.socket) -> None:
        _close(*sockets)
        with self._lock:
            self._open.pop(number, None)

    def _record(self, number: int, side: Side, texts: list[bytes]) -> None:
        now = time.monotonic()
        with self._lock:
            for text in texts:
                self._lines.append(Line(len(self._lines), number, side, text, now))


def as_command(line: Line) -> Command | None:
    """Return the command in a client's line; None for DONE, and for answers to a continuation."""
    match = _COMMAND.match(line.text) if line.side is Side.CLIENT else None
    if match is None:
        return None
    verb, arguments = match[2].decode().upper(), match[3] or b""
    if verb == "UID":
        second, _, arguments = arguments.partition(b" ")
        verb = f"UID {second.decode(errors='replace').upper()}"
    if verb in _SECRET_VERBS:
        arguments = b""
    return Command(line.order, line.connection, match[1].decode(errors="replace"), verb, arguments, line.seconds)


def _listen(port: int) -> socket.socket:
    return socket.create_server((RecordingProxy.host, port), backlog=128)


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):  # already closed by the other end, or by the other thread
            each.shutdown(socket.SHUT_RDWR)
        each.close()
