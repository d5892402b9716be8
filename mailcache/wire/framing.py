"""Cuts a byte stream into lines with their literals, before anything is parsed; one framer for both directions. Pure.

Framing needs no grammar: a line that ends in ``{n}`` goes on after n bytes. So limits hold before a parser sees a byte,
large literals go where the caller wants them, and one bad message never costs the place in the stream.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

_LITERAL_HEADER = re.compile(rb"(~?)\{(\d{1,19})(\+?)\}\Z")
_COMPACT_ABOVE = 1 << 16


class LiteralSink(Protocol):
    """Where the bytes of one literal go, piece by piece."""

    def write(self, chunk: bytes, /) -> object:
        """Take the next piece."""


class Choice(Enum):
    """What to do with a literal, other than giving it a sink."""

    COLLECT = auto()
    """Keep its bytes in the frame."""
    SKIP = auto()
    """Read past it; the frame holds a literal without bytes."""
    TEXT = auto()
    """It is none: the line merely ends like one."""
    REFUSE = auto()
    """Drop the whole frame; the peer is told why by whoever gets the ``Refused`` event."""


@dataclass(frozen=True, slots=True)
class LiteralHeader:
    """A literal that is about to come: its size in bytes, its kind, and the frame so far (to read, not to keep)."""

    size: int
    synchronizing: bool
    binary: bool
    pieces: Sequence[bytes | Literal]

    @property
    def preceding(self) -> bytes:
        """The text right before the literal."""
        last = self.pieces[-1]
        return last if isinstance(last, bytes) else b""


@dataclass(frozen=True, slots=True)
class Literal:
    """A literal of a frame: its bytes, or the sink that got them, or neither when it was skipped."""

    size: int
    data: bytes | None = None
    sink: LiteralSink | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """One command or response without its CRLF: text and literals in turn, beginning and ending with text."""

    pieces: tuple[bytes | Literal, ...]


@dataclass(frozen=True, slots=True)
class ContinuationWanted:
    """The peer waits for ``+`` before it sends a literal."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A frame was dropped because of a literal in it."""

    header: LiteralHeader


@dataclass(frozen=True, slots=True)
class TooLong:
    """A frame was dropped because its text exceeded the limit; ``start`` is how it began."""

    start: bytes


Event = Frame | ContinuationWanted | Refused | TooLong
ChooseLiteral = Callable[[LiteralHeader], LiteralSink | Choice]


class Framer:
    """A push parser: ``feed`` bytes, take events with ``next_event`` until it returns None."""

    def __init__(self, *, choose_literal: ChooseLiteral, max_line: int, max_literals: int = 10_000) -> None:
        """``max_line`` bounds the text of a frame in bytes, ``max_literals`` the number of its literals."""
        self.choose_literal = choose_literal
        self.max_line = max_line
        self.max_literals = max_literals
        self._buffer = bytearray()
        self._start = 0
        self._scanned = 0
        self._reset()

    def feed(self, data: bytes) -> None:
        """Add bytes that have arrived."""
        if self._start > _COMPACT_ABOVE:
            del self._buffer[: self._start]
            self._scanned -= self._start
            self._start = 0
        self._buffer += data

    @property
    def buffered(self) -> int:
        """How many bytes have arrived and are not yet part of an event."""
        return len(self._buffer) - self._start

    @property
    def between_frames(self) -> bool:
        """True when no frame has begun."""
        return not self._pieces and not self._remaining and not self._discarding

    def take_buffer(self) -> bytes:
        """Return bytes that have arrived and are not yet part of an event, and forget them."""
        taken = bytes(self._buffer[self._start :])
        self._buffer.clear()
        self._start = self._scanned = 0
        return taken

    def discard_buffer(self) -> int:
        """Forget bytes that have arrived (before STARTTLS); returns how many there were."""
        return len(self.take_buffer())

    def take_line(self) -> bytes | TooLong | None:
        """Return the next line as it is, ending in ``{5}`` or not: a client's answer to a continuation request.

        ``TooLong`` is returned before its end has come; nothing that follows can be made sense of.
        """
        line = self._take_line()
        if self.buffered > self.max_line if line is None else len(line) > self.max_line:
            return TooLong((bytes(self._buffer[self._start :][:100])) if line is None else line[:100])
        return line

    def take_match(self, pattern: re.Pattern[bytes]) -> tuple[bytes | None, ...] | None:
        """Step over what ``pattern`` matches between two frames, and return its groups; None if it does not match.

        For lines that come by the thousand: ``pattern`` must match whole lines without literals, or nothing.
        """
        if not self.between_frames:
            return None
        match = pattern.match(self._buffer, self._start)
        if match is None:
            return None
        self._start = self._scanned = match.end()
        return match.groups()

    def take_with_literal(
        self, pattern: re.Pattern[bytes], ending: bytes
    ) -> tuple[tuple[bytes | None, ...], bytes] | int:
        """Step over a frame that has arrived whole and holds one literal; return the groups of ``pattern`` and it.

        ``pattern`` must match up to the literal, whose size is its last group; ``ending`` must follow the literal.
        Otherwise return how many bytes are missing for that, or 0 where the frame is another.
        """
        match = pattern.match(self._buffer, self._start) if self.between_frames else None
        if match is None:
            return 0
        groups = match.groups()
        begin, end = match.end(), match.end() + int(groups[-1])
        if not self._buffer.startswith(ending, end):
            return max(0, end + len(ending) - len(self._buffer))
        with memoryview(self._buffer) as view:
            data = bytes(view[begin:end])
        self._start = self._scanned = end + len(ending)
        return groups, data

    def next_event(self) -> Event | None:
        """Return the next event, or None until more bytes arrive."""
        while True:
            if self._remaining and not self._take_literal():
                return None
            if self._literal_open:
                self._close_literal()
            line = self._take_line()
            if line is None:
                self._check_length()
                return None
            event = self._line(line)
            if event is not None:
                return event

    def _reset(self) -> None:
        self._pieces: list[bytes | Literal] = []
        self._text_size = 0
        self._remaining = 0
        self._literal_open = False
        self._literal_size = 0
        self._collected: bytearray | None = None
        self._sink: LiteralSink | None = None
        self._discarding: Refused | TooLong | None = None

    def _line(self, line: bytes) -> Event | None:
        match = _LITERAL_HEADER.search(line) if line.endswith(b"}") else None
        self._text_size += len(line)
        if self._discarding is None and self._text_size > self.max_line:
            self._discarding = TooLong(self._beginning(line))
        if self._discarding is not None:
            return self._discard(match)
        if match is None:
            return self._finish(line)
        return self._literal(line, match)

    def _literal(self, line: bytes, match: re.Match[bytes]) -> Event | None:
        # The list itself goes into the header: a copy for each literal would cost the square of their number.
        self._pieces.append(line[: match.start()])
        header = LiteralHeader(int(match[2]), not match[3], bool(match[1]), self._pieces)
        over = len(self._pieces) // 2 >= self.max_literals
        choice = Choice.REFUSE if over else self.choose_literal(header)
        if choice is Choice.TEXT:
            self._pieces.pop()
            return self._finish(line)
        if choice is Choice.REFUSE:
            self._discarding = Refused(header)
            return self._discard(match)
        self._collected = bytearray() if choice is Choice.COLLECT else None
        self._sink = None if isinstance(choice, Choice) else choice
        self._open_literal(header.size)
        return ContinuationWanted() if header.synchronizing else None

    def _discard(self, match: re.Match[bytes] | None) -> Event | None:
        # Without "+" the peer waits for our answer and sends nothing more of this frame.
        if match is not None and match[3]:
            self._collected = self._sink = None
            self._open_literal(int(match[2]))
            return None
        event = self._discarding
        self._reset()
        return event

    def _finish(self, line: bytes) -> Frame:
        frame = Frame((*self._pieces, line))
        self._reset()
        return frame

    def _open_literal(self, size: int) -> None:
        self._remaining = self._literal_size = size
        self._literal_open = True

    def _take_literal(self) -> bool:
        chunk = self._take(min(self._remaining, self.buffered))
        self._remaining -= len(chunk)
        if self._collected is not None:
            self._collected += chunk
        elif self._sink is not None and chunk:
            self._sink.write(chunk)
        return not self._remaining

    def _close_literal(self) -> None:
        self._literal_open = False
        if self._discarding is None:
            data = None if self._collected is None else bytes(self._collected)
            self._pieces.append(Literal(self._literal_size, data, self._sink))

    def _take_line(self) -> bytes | None:
        end = self._buffer.find(b"\n", max(self._scanned, self._start))
        if end < 0:
            self._scanned = len(self._buffer)
            return None
        line = self._take(end + 1 - self._start)
        return line[:-2] if line.endswith(b"\r\n") else line[:-1]

    def _take(self, size: int) -> bytes:
        with memoryview(self._buffer) as view:
            taken = bytes(view[self._start : self._start + size])
        self._start += size
        self._scanned = self._start
        if self._start == len(self._buffer):
            self._buffer.clear()
            self._start = self._scanned = 0
        return taken

    def _check_length(self) -> None:
        """Drop what has arrived of a line that is too long already, and remember to report it at its end."""
        if self._text_size + self.buffered <= self.max_line or self._remaining:
            return
        if self._discarding is None:
            self._discarding = TooLong(self._beginning(bytes(self._buffer[self._start : self._start + 100])))
        # The end is kept: it may be the header of a literal.
        keep = 32
        self._start = max(self._start, len(self._buffer) - keep)
        self._scanned = len(self._buffer)

    def _beginning(self, line: bytes) -> bytes:
        first = self._pieces[0] if self._pieces else line
        return first[:100] if isinstance(first, bytes) else b""
