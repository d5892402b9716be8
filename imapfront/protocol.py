"""One connection without its socket: bytes in, events out (RFC 3501 2.2). Pure.

Commands come one at a time: whoever carries one out asks for the next when it is done, so that pipelined commands wait
here, unread, and a client that sends without end is stopped by back-pressure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from imapfront.wire.parse_command import BadCommand, Tagged, parse_command, tag_of
from imapfront.wire.parse_search import UnknownCharset, UnsupportedSearch
from mailcache.wire.framing import (
    Choice,
    ContinuationWanted,
    Frame,
    Framer,
    LiteralHeader,
    LiteralSink,
    Refused,
    TooLong,
)

# In all before the login; in a row after it.
MAX_BAD_BEFORE_LOGIN = 10
MAX_BAD_AFTER_LOGIN = 50
# A refused literal that comes without waiting is read past up to this size; a larger one ends the connection.
MAX_SKIPPED_BEFORE_LOGIN = 65_536
MAX_SKIPPED_AFTER_LOGIN = 1 << 30
# Messages of one APPEND that stay in memory; what goes beyond is spooled.
MAX_MESSAGE_IN_MEMORY = 64 * 1024

_APPEND = re.compile(rb"[^ ]{1,100} APPEND ", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes that a client may use: of a line, and of all literals of one command but messages."""

    line_before_login: int = 8_192
    literal_before_login: int = 4_096
    line_after_login: int = 65_536
    literal_after_login: int = 1_048_576
    message: int = 100 * 1_048_576
    """A message of APPEND, which is bounded by itself."""
    literals_per_command: int = 1_000


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A well-formed command."""

    tagged: Tagged


@dataclass(frozen=True, slots=True)
class SendContinuation:
    """The client waits for ``+`` before it sends a literal."""


@dataclass(frozen=True, slots=True)
class LineReceived:
    """A line that belongs to the running command: DONE, or an answer of AUTHENTICATE."""

    line: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that is no command: answered BAD (or ``status``), tagged where a tag could be read."""

    tag: bytes | None
    text: str
    status: str = "BAD"
    code: str = ""


@dataclass(frozen=True, slots=True)
class Hangup:
    """The client is not worth talking to any longer: BYE with this text."""

    text: str


Event = CommandReceived | SendContinuation | LineReceived | Fault | Hangup


class _Mode(Enum):
    COMMANDS = auto()
    LINES = auto()


class Protocol:
    """The grammar and limits of one connection. After each event but a command the next one may be asked for."""

    def __init__(self, limits: Limits, open_spool: Callable[[], LiteralSink] | None = None) -> None:
        """``open_spool`` returns where a large message of APPEND goes; without it all literals stay in memory."""
        self._limits = limits
        self._open_spool = open_spool
        self._spools: list[LiteralSink] = []
        self._authenticated = False
        self._mode = _Mode.COMMANDS
        self._bad = 0
        self._literal_bytes = 0
        self._refusal = _TOO_MANY
        self._hangup: Hangup | None = None
        self._hung_up = False
        self._framer = Framer(
            choose_literal=self._choose_literal,
            max_line=limits.line_before_login,
            max_literals=limits.literals_per_command,
        )

    @property
    def buffered(self) -> int:
        """Bytes that have arrived and wait."""
        return self._framer.buffered

    @property
    def is_amid_command(self) -> bool:
        """True when a command has begun to arrive and has not ended."""
        return bool(self._framer.buffered) or not self._framer.between_frames

    def feed(self, data: bytes) -> None:
        """Take bytes from the client."""
        self._framer.feed(data)

    def authenticated(self) -> None:
        """The client has logged in: the wider limits hold."""
        self._authenticated = True
        self._bad = 0
        self._framer.max_line = self._limits.line_after_login

    def take_abandoned(self) -> list[LiteralSink]:
        """Return the spools of a command that came to nothing; whoever asks removes them."""
        abandoned, self._spools = self._spools, []
        return abandoned

    def tls_started(self) -> int:
        """Forget what was sent before TLS; returns how many bytes, which are an attack if there are any."""
        return self._framer.discard_buffer()

    def expect_lines(self) -> None:
        """Read lines as they are from now on: IDLE or AUTHENTICATE is running."""
        self._mode = _Mode.LINES

    def expect_commands(self) -> None:
        """Read commands again."""
        self._mode = _Mode.COMMANDS

    def next_event(self) -> Event | None:
        """Return the next event, or None until more bytes arrive; nothing comes after a ``Hangup``."""
        if self._hung_up:
            return None
        event = self._next_line() if self._mode is _Mode.LINES else self._next_command()
        self._hung_up = isinstance(event, Hangup)
        return event

    def _next_command(self) -> Event | None:
        event = self._framer.next_event()
        if self._hangup is not None:
            return self._hangup
        if event is None:
            return None
        if isinstance(event, ContinuationWanted):
            return SendContinuation()
        self._literal_bytes = 0
        match event:
            case Frame():
                return self._command(event)
            case Refused(header):
                refusal, self._refusal = self._refusal, _TOO_MANY
                first = header.pieces[0]
                tag = tag_of(first) if isinstance(first, bytes) else None
                return self._fault(Fault(tag, refusal.text, status=refusal.status, code=refusal.code))
            case TooLong(start):
                # Cut short, so that without a space nobody knows where the tag ends.
                return self._fault(Fault(tag_of(start) if b" " in start else None, "the line is too long"))

    def _next_line(self) -> Event | None:
        line = self._framer.take_line()
        if line is None:
            return None
        if isinstance(line, TooLong):
            return Hangup("the line is too long")
        return LineReceived(line)

    def _command(self, frame: Frame) -> Event:
        try:
            tagged = parse_command(frame)
        except BadCommand as error:
            if isinstance(error.__cause__, UnknownCharset):
                return Fault(error.tag, str(error), status="NO", code="BADCHARSET (UTF-8 US-ASCII)")
            if isinstance(error.__cause__, UnsupportedSearch):
                return Fault(error.tag, str(error))
            return self._fault(Fault(error.tag, str(error)))
        if self._authenticated:
            self._bad = 0
        self._spools = []  # they are the command's now
        return CommandReceived(tagged)

    def _fault(self, fault: Fault) -> Fault | Hangup:
        self._bad += 1
        if self._bad > (MAX_BAD_AFTER_LOGIN if self._authenticated else MAX_BAD_BEFORE_LOGIN):
            return Hangup("too many commands that are none")
        return fault

    def _choose_literal(self, header: LiteralHeader) -> LiteralSink | Choice:
        limits = self._limits
        limit = limits.literal_after_login if self._authenticated else limits.literal_before_login
        skipped = MAX_SKIPPED_AFTER_LOGIN if self._authenticated else MAX_SKIPPED_BEFORE_LOGIN
        if header.binary:
            self._refusal = _BINARY
        elif self._authenticated and _is_message(header):
            return self._choose_message(header)
        elif self._literal_bytes + header.size > limit:
            self._refusal = Fault(None, f"a literal of {header.size} bytes is too large here", "NO", "TOOBIG")
        else:
            self._literal_bytes += header.size
            return Choice.COLLECT
        if not header.synchronizing and header.size > max(skipped, limit):
            self._hangup = Hangup("[TOOBIG] a literal far too large is on its way")
        return Choice.REFUSE

    def _choose_message(self, header: LiteralHeader) -> LiteralSink | Choice:
        if header.size > self._limits.message:
            text = f"a message of {header.size} bytes is too large: {self._limits.message} are the most"
            self._refusal = Fault(None, text, "NO", "TOOBIG")
            if not header.synchronizing and header.size > MAX_SKIPPED_AFTER_LOGIN:
                self._hangup = Hangup("[TOOBIG] a literal far too large is on its way")
            return Choice.REFUSE
        if self._open_spool is None or self._literal_bytes + header.size <= MAX_MESSAGE_IN_MEMORY:
            self._literal_bytes += header.size
            return Choice.COLLECT
        self._spools.append(self._open_spool())
        return self._spools[-1]


def _is_message(header: LiteralHeader) -> bool:
    """True for a literal of APPEND other than the mailbox name, which comes first."""
    first = header.pieces[0]
    match = _APPEND.match(first) if isinstance(first, bytes) else None
    if match is None or not isinstance(first, bytes):
        return False
    return len(header.pieces) > 1 or match.end() < len(first)


_TOO_MANY = Fault(None, "too many literals in one command")
_BINARY = Fault(None, "a binary literal has no place here")
