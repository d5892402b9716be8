"""A recording proxy that reads along: it can change, answer or leave out any command and any response.

Works line by line, as literals are never text to be changed; follows a connection into COMPRESS=DEFLATE. What is
recorded is what the client sent and what it was told.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from tests.fakes.recording_proxy import Command, Line, LineCutter, RecordingProxy, Side, as_command

READ_BYTES = 1 << 16
_LITERAL = re.compile(rb"\{(\d+)(\+?)\}\r?\n\Z")


class Piece(NamedTuple):
    """Part of a command or response: a line with its CRLF, or some bytes of a literal."""

    data: bytes
    is_literal: bool
    begins: bool
    """Nothing of the command or response came before."""
    ends: bool
    """Nothing of it follows."""


class PieceCutter:
    """Cuts a byte stream into pieces; literals come in whatever parts they arrive in."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._literal = 0
        self._begins = True

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the pieces that are complete now."""
        self._buffer += data
        while self._buffer:
            piece = self._next()
            if piece is None:
                return
            self._begins = piece.ends
            yield piece

    def _next(self) -> Piece | None:
        if self._literal:
            part = bytes(self._buffer[: self._literal])
            del self._buffer[: len(part)]
            self._literal -= len(part)
            return Piece(part, is_literal=True, begins=False, ends=False)
        end = self._buffer.find(b"\n") + 1
        if not end:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        header = _LITERAL.search(line)
        if header is not None:
            self._literal = int(header[1])
        return Piece(line, is_literal=False, begins=self._begins, ends=header is None)


class Exchange:
    """One connection through the proxy: a place where both directions meet."""

    def __init__(self, number: int, client: socket.socket, server: socket.socket) -> None:
        self.number = number
        self.client = client
        self.server = server
        self.pending: dict[str, Command] = {}
        """Commands that were passed on and not answered yet, by tag."""
        self.lock = threading.Lock()
        """Held while the client is told something."""
        self.recorded = LineCutter()
        self._between_responses = True
        self._answers: list[bytes] = []
        self._deflating = False
        self._inflaters = {side: zlib.decompressobj(-zlib.MAX_WBITS) for side in Side}
        self._deflaters = {side: zlib.compressobj(wbits=-zlib.MAX_WBITS) for side in Side}

    def answer(self, text: bytes) -> None:
        """Tell the client something by ourselves, as soon as the server has finished a response."""
        with self.lock:
            self._answers.append(text)

    def close(self) -> None:
        """Cut both sides."""
        for each in (self.client, self.server):
            with contextlib.suppress(OSError):  # closed already
                each.shutdown(socket.SHUT_RDWR)

    def with_answers(self, data: bytes, *, ends: bool | None) -> bytes:
        """Return ``data`` of the server and what we have to say behind it; the lock is held.

        ``ends`` tells whether a response of the server ends here; None where ``data`` is nothing of the server's.
        """
        if ends is not None:
            self._between_responses = ends
        if self._between_responses:
            data += b"".join(self._answers)
            self._answers.clear()
        return data

    def begin_deflate(self) -> None:
        """Both sides compress from here on (RFC 4978)."""
        self._deflating = True

    def decode(self, side: Side, data: bytes) -> bytes:
        """Return what one side sent, as text."""
        return self._inflaters[side].decompress(data) if self._deflating else data

    def encode(self, side: Side, data: bytes) -> bytes:
        """Return text as it goes to one side."""
        if not self._deflating or not data:
            return data
        deflater = self._deflaters[side]
        return deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)


class MeddlingProxy(RecordingProxy):
    """Passes everything on; subclasses say what they do about commands and responses."""

    def on_connect(self, exchange: Exchange) -> None:
        """A connection has begun."""

    def on_command(self, exchange: Exchange, command: Command | None, line: bytes) -> bytes | None:
        """Return what the server gets instead of this line; None if it gets nothing of the whole command.

        ``command`` is None for lines that are none, like DONE, and for lines after a literal.
        """
        return line

    def on_response(self, exchange: Exchange, line: bytes, *, begins: bool) -> bytes | None:
        """Return what the client gets instead of this line; None for nothing, where it has no literal."""
        return line

    def on_bytes(self, exchange: Exchange, side: Side, data: bytes) -> bytes | None:
        """Return what goes out instead of these bytes, as they are on the wire; None cuts the connection."""
        return data

    def _serve(self, number: int, client: socket.socket, server: socket.socket) -> None:
        exchange = Exchange(number, client, server)
        self.on_connect(exchange)
        self._spawn(self._pump_commands, exchange)
        self._spawn(self._pump_responses, exchange)

    def _pump_commands(self, exchange: Exchange) -> None:
        cutter, recorded = PieceCutter(), LineCutter()
        swallowing = False
        with contextlib.suppress(OSError):  # either end closed
            while received := exchange.client.recv(READ_BYTES):
                self._flowing.wait()
                for piece in cutter.feed(exchange.decode(Side.CLIENT, received)):
                    # Recorded before it is passed on, so that no answer is recorded before its command.
                    self._record(exchange.number, Side.CLIENT, recorded.feed(piece.data))
                    out = piece.data if piece.is_literal else self._command(exchange, piece)
                    swallowing = out is None or (swallowing and not piece.begins)
                    if out is None:
                        # Now: the server may answer the next command before this one's answer would be told.
                        self._tell(exchange, b"", ends=None)
                    elif not swallowing:
                        self._pass_on(exchange, Side.CLIENT, exchange.server, exchange.encode(Side.SERVER, out))
        self._ended(exchange.number, exchange.client, exchange.server)

    def _command(self, exchange: Exchange, piece: Piece) -> bytes | None:
        text = piece.data.rstrip(b"\r\n")
        command = as_command(Line(0, exchange.number, Side.CLIENT, text, 0.0)) if piece.begins else None
        if command is not None:
            exchange.pending[command.tag] = command
        out = self.on_command(exchange, command, piece.data)
        if command is not None and out is None:
            del exchange.pending[command.tag]
        return out

    def _pump_responses(self, exchange: Exchange) -> None:
        cutter = PieceCutter()
        with contextlib.suppress(OSError):  # either end closed
            while received := exchange.server.recv(READ_BYTES):
                self._flowing.wait()
                for piece in cutter.feed(exchange.decode(Side.SERVER, received)):
                    self._response(exchange, piece)
                if rate := self._bytes_per_second:
                    self._closing.wait(len(received) / rate)
        self._ended(exchange.number, exchange.client, exchange.server)

    def _response(self, exchange: Exchange, piece: Piece) -> None:
        if piece.is_literal:
            self._tell(exchange, piece.data, ends=False)
            return
        out = self.on_response(exchange, piece.data, begins=piece.begins)
        tag, _, rest = piece.data.partition(b" ")
        answered = exchange.pending.pop(tag.decode(errors="replace"), None) if piece.begins else None
        deflate = answered is not None and answered.verb == "COMPRESS" and rest.startswith(b"OK")
        self._tell(exchange, out or b"", ends=piece.ends, deflate=deflate)

    def _tell(self, exchange: Exchange, data: bytes, *, ends: bool | None, deflate: bool = False) -> None:
        """Let the client have ``data`` of the server, and what we want to say."""
        with exchange.lock:
            data = exchange.with_answers(data, ends=ends)
            self._record(exchange.number, Side.SERVER, exchange.recorded.feed(data))
            wire = exchange.encode(Side.CLIENT, data)
            if deflate:
                exchange.begin_deflate()
            self._pass_on(exchange, Side.SERVER, exchange.client, wire)

    def _pass_on(self, exchange: Exchange, side: Side, target: socket.socket, wire: bytes) -> None:
        out = self.on_bytes(exchange, side, wire)
        if out is None:
            exchange.close()
            raise ConnectionAbortedError
        target.sendall(out)
