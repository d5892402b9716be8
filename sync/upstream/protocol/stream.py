"""Bytes and frames of one connection in both directions: framed, compressed where agreed, counted by command."""

from __future__ import annotations

from collections.abc import Callable

from mailcache.wire.framing import Choice, ContinuationWanted, Frame, Framer, Literal, LiteralHeader, LiteralSink
from sync.upstream.errors import ProtocolViolation
from sync.upstream.protocol.compression import Compression
from sync.upstream.protocol.requests import RECEIVE, Send, Steps
from sync.upstream.protocol.responses import is_free_text
from sync.upstream.values import CommandUsage, Statistics

# A SEARCH response of four million UIDs fits into one line.
MAX_LINE = 32 << 20
MAX_LITERALS = 2_000
# Literals other than message data: names, envelopes; all of one response together.
MAX_SMALL_LITERAL = 1 << 20
SETTING_UP = "LOGIN"
"""The name under which everything counts until a connection is usable."""

ChooseLiteral = Callable[[LiteralHeader], LiteralSink | Choice]


class Stream:
    """The wire as the protocol sees it."""

    def __init__(self) -> None:
        self.statistics = Statistics()
        self.compression: Compression | None = None
        self.framer = Framer(choose_literal=self._choose_literal, max_line=MAX_LINE, max_literals=MAX_LITERALS)
        self.literal_handler: ChooseLiteral | None = None
        self.setting_up = True
        self._usage = self._usage_of(SETTING_UP)
        self._tags = 0

    def next_tag(self, name: str) -> bytes:
        """Return a tag that was not used before on this connection; what follows counts for the command ``name``."""
        self._tags += 1
        self._usage = self._usage_of(SETTING_UP if self.setting_up else name)
        self._usage.commands += 1
        self.statistics.commands += 1
        return b"A%04d" % self._tags

    def sending(self, data: bytes) -> Send:
        """Return the request to send bytes, counted."""
        if self.compression is not None:
            data = self.compression.deflate(data)
        self.statistics.bytes_out += len(data)
        self._usage.bytes_out += len(data)
        return Send(data)

    def count_in(self, size: int) -> None:
        """Count bytes that have arrived."""
        self.statistics.bytes_in += size
        self._usage.bytes_in += size

    def feed(self, data: bytes) -> None:
        """Take bytes that have arrived."""
        self.framer.feed(data if self.compression is None else self.compression.inflate(data))

    def feed_pending(self) -> bool:
        """Go on with what has arrived and is not inflated yet; False where there is no such thing."""
        if self.compression is None or not self.compression.pending:
            return False
        self.framer.feed(self.compression.inflate(b""))
        return True

    def more(self) -> Steps[None]:
        """Give the framer what comes next, waiting for it where necessary."""
        if not self.feed_pending():
            self.feed((yield RECEIVE) or b"")

    def start_compression(self) -> None:
        """Compress from now on; what has arrived and was not framed is compressed already."""
        self.compression = Compression()
        self.feed(self.framer.take_buffer())

    def read_frame(self) -> Steps[Frame]:
        """Read one frame."""
        while True:
            event = self.framer.next_event()
            if isinstance(event, Frame):
                return event
            if event is None:
                yield from self.more()
            elif not isinstance(event, ContinuationWanted):
                raise ProtocolViolation("a response exceeds every limit")

    def arrived_frame(self) -> Frame | None:
        """Return the next frame that has arrived whole."""
        while (event := self.framer.next_event()) is not None or self.feed_pending():
            if isinstance(event, Frame):
                return event
            if event is not None and not isinstance(event, ContinuationWanted):
                raise ProtocolViolation("a response exceeds every limit")
        return None

    def _usage_of(self, name: str) -> CommandUsage:
        return self.statistics.by_command.setdefault(name, CommandUsage())

    def _choose_literal(self, header: LiteralHeader) -> LiteralSink | Choice:
        first = header.pieces[0]
        if len(header.pieces) == 1 and isinstance(first, bytes) and is_free_text(first):
            return Choice.TEXT
        if self.literal_handler is not None:
            return self.literal_handler(header)
        return keep_small(header)


def keep_small(header: LiteralHeader) -> Choice:
    """Keep a literal in memory unless the response would hold too much of them."""
    kept = sum(piece.size for piece in header.pieces if isinstance(piece, Literal) and piece.data is not None)
    return Choice.COLLECT if kept + header.size <= MAX_SMALL_LITERAL else Choice.SKIP
