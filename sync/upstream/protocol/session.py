"""One connection's state and the loop that runs a command: sends it, reads until its tagged response."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from mailcache.wire.framing import (
    Choice,
    ContinuationWanted,
    Frame,
    Framer,
    Literal,
    LiteralHeader,
    LiteralSink,
)
from mailcache.wire.strings import render_astring
from sync.upstream.endpoint import Deadlines
from sync.upstream.errors import (
    AuthFailed,
    CommandBad,
    CommandNo,
    CommandRefused,
    ProtocolViolation,
    ServerBye,
    Severity,
    TemporarilyRefused,
    is_passing,
)
from sync.upstream.protocol.fetch_items import read_fetch
from sync.upstream.protocol.requests import RECEIVE, Deadline, Send, Steps
from sync.upstream.protocol.responses import (
    Continuation,
    Status,
    Stray,
    Tagged,
    Untagged,
    is_free_text,
    read_response,
)
from sync.upstream.values import NO_SECTIONS, FetchedMessage, IdleEvent, IdleKind, SelectedMailbox, Statistics

# A SEARCH response of four million UIDs fits into one line.
MAX_LINE = 32 << 20
MAX_LITERALS = 2_000
# Literals other than message data: names, envelopes; all of one response together.
MAX_SMALL_LITERAL = 1 << 20
MAX_PENDING_EVENTS = 1_000
_ANNOUNCED = {kind.value.encode("ascii"): kind for kind in IdleKind}
_LITERAL = re.compile(rb"\{(\d+)\}\r\n")
_NOT_CONNECTED = re.compile(r"authenticated but not connected", re.IGNORECASE)

OnUntagged = Callable[[Untagged], bool]
"""Takes an untagged response; tells whether it was meant for the command."""


class Handlers(NamedTuple):
    """What one command does with what comes before its tagged response."""

    untagged: OnUntagged | None = None
    continuation: Callable[[bytes], bytes | None] | None = None
    """Takes ``+``; returns what to send, if anything."""
    plain_lines: Callable[[Framer], bool] | None = None
    """Takes what comes by the thousand straight off the framer; tells whether to wait for the rest of it."""
    literal: Callable[[LiteralHeader], LiteralSink | Choice] | None = None


NO_HANDLERS = Handlers()


class Session:
    """The protocol's state on one connection. It does no I/O: its methods are steps for a driver."""

    def __init__(self, deadlines: Deadlines) -> None:
        self.deadlines = deadlines
        self.capabilities: frozenset[str] = frozenset()
        self.selected: SelectedMailbox | None = None
        self.pending: deque[IdleEvent] = deque(maxlen=MAX_PENDING_EVENTS)
        self.statistics = Statistics()
        self.refused: set[str] = set()
        """What the upstream advertised and then rejected: not tried again on this connection (field note 42)."""
        self.idle_tag: bytes | None = None
        self.logging_out = False
        self.secrets: tuple[str, ...] = ()
        """Texts that no error may repeat."""
        self.framer = Framer(choose_literal=self._choose_literal, max_line=MAX_LINE, max_literals=MAX_LITERALS)
        self._literal_handler: Callable[[LiteralHeader], LiteralSink | Choice] | None = None
        self._tags = 0

    def offers(self, capability: str) -> bool:
        """True when the upstream advertises an extension and has not rejected it since."""
        return capability in self.capabilities and capability not in self.refused

    def command(
        self,
        name: str,
        arguments: bytes = b"",
        handlers: Handlers = NO_HANDLERS,
        *,
        severity: Severity = Severity.TRANSIENT,
        patience: float | None = None,
    ) -> Steps[Status]:
        """Run one command and return its OK; raises ``CommandNo`` or ``CommandBad``.

        ``patience`` replaces the command's deadline and also bounds silence: for what servers think about.
        """
        if self.idle_tag is not None:
            yield from self.end_idle()
        total = patience or self.deadlines.command
        yield Deadline(name, total, patience or self.deadlines.inactivity)
        tag = self.next_tag()
        yield from self._send(tag, b"%b %b" % (name.encode("ascii"), arguments) if arguments else name.encode("ascii"))
        status = yield from self.read_until(tag, handlers)
        return self.checked(name, status, severity)

    def checked(self, name: str, status: Status, severity: Severity = Severity.TRANSIENT) -> Status:
        """Return a status that is OK; raise for others."""
        if status.condition == b"OK":
            self._note_capability_code(status)
            return status
        text = self.redacted(status.text)
        if _NOT_CONNECTED.search(text):
            # Office 365 says so after a login with a wrong password or a revoked right, and when it throttles.
            raise TemporarilyRefused(f"{name}: {text}")
        refusal = CommandNo if status.condition == b"NO" else CommandBad
        raise refusal(name, status.code, text, severity=severity)

    def read_until(self, tag: bytes, handlers: Handlers) -> Steps[Status]:
        """Read responses until the tagged one for ``tag``; every other one is handled on the way."""
        framer = self.framer
        plain_lines = handlers.plain_lines
        self._literal_handler = handlers.literal
        while True:
            event = None if plain_lines is not None and plain_lines(framer) else framer.next_event()
            if event is None:
                framer.feed((yield RECEIVE) or b"")
            elif isinstance(event, Frame):
                response = read_response(event)
                if isinstance(response, Tagged):
                    self._literal_handler = None
                    return self._completion(tag, response)
                if isinstance(response, Continuation):
                    answer = handlers.continuation(response.text) if handlers.continuation else None
                    if answer is not None:
                        yield self.sending(answer)
                else:
                    self.take(response, handlers.untagged)
            elif not isinstance(event, ContinuationWanted):
                raise ProtocolViolation("a response exceeds every limit")

    def read_frame(self) -> Steps[Frame]:
        """Read one frame."""
        while True:
            event = self.framer.next_event()
            if isinstance(event, Frame):
                return event
            if event is None:
                self.framer.feed((yield RECEIVE) or b"")
            elif not isinstance(event, ContinuationWanted):
                raise ProtocolViolation("a response exceeds every limit")

    def take(self, response: Untagged | Stray, handler: OnUntagged | None) -> None:
        """Handle a response that ends nothing: for the command, for everybody, or by itself."""
        if isinstance(response, Stray):
            text = response.text.strip(b"\x00 \t")
            if text:
                # Seen: a bare "Server Unavailable." (quirk 17); nobody knows what comes after it.
                raise ProtocolViolation(f"not a response: {self.redacted(text[:100].decode('ascii', 'replace'))}")
            return
        if response.name == b"BYE":
            if not self.logging_out:
                self._said_bye(response.status())
        elif response.name == b"CAPABILITY":
            self.note_capabilities(response.scanner().rest())
        elif handler is not None and handler(response):
            return
        elif response.name == b"OK":
            self._note_capability_code(response.status())
        else:
            self.announce(response)

    def announce(self, response: Untagged) -> None:
        """Keep what the upstream tells by itself until somebody asks."""
        kind = _ANNOUNCED.get(response.name)
        if kind is IdleKind.FETCH:
            try:
                message = read_fetch(response.number or 0, response.scanner())
            except ValueError:
                self.statistics.malformed += 1
            else:
                self.note_fetch(message)
        elif kind is not None:
            self.pending.append(IdleEvent(kind, response.number))

    def note_fetch(self, message: FetchedMessage) -> None:
        """Keep a FETCH response that nobody asked for, without what may be large in it."""
        slim = message._replace(sections=NO_SECTIONS, envelope_raw=None, bodystructure_raw=None)
        self.pending.append(IdleEvent(IdleKind.FETCH, message.seq, slim))

    def note_capabilities(self, listed: bytes) -> None:
        """Replace what is known of the upstream's extensions."""
        self.capabilities = frozenset(listed.decode("ascii", errors="replace").upper().split())

    def next_tag(self) -> bytes:
        """Return a tag that was not used before on this connection."""
        self._tags += 1
        self.statistics.commands += 1
        return b"A%04d" % self._tags

    def sending(self, data: bytes) -> Send:
        """Return the request to send bytes, counted."""
        self.statistics.bytes_out += len(data)
        return Send(data)

    def end_idle(self) -> Steps[None]:
        """Leave IDLE, if it is on."""
        tag, self.idle_tag = self.idle_tag, None
        if tag is not None:
            yield Deadline("IDLE", self.deadlines.command, self.deadlines.inactivity)
            yield self.sending(b"DONE\r\n")
            status = yield from self.read_until(tag, NO_HANDLERS)
            self.checked("IDLE", status)

    def redacted(self, text: str) -> str:
        """Return a text of the upstream without the credentials that it may repeat."""
        for secret in self.secrets:
            if secret:
                text = text.replace(secret, "[…]")
        return text

    def _send(self, tag: bytes, line: bytes) -> Steps[None]:
        """Send a command; literals in it wait for their continuation unless the upstream spares us that."""
        start = 0
        spared = self.offers("LITERAL+")
        outgoing = [tag, b" "]
        for match in _LITERAL.finditer(line):
            if match.start() < start:
                continue  # it is inside the literal before
            size = int(match[1])
            outgoing += [line[start : match.start()], b"{%d+}\r\n" % size if spared else match[0]]
            if not spared:
                yield self.sending(b"".join(outgoing))
                yield from self._wait_for_continuation(tag)
                outgoing = []
            start = match.end() + size
            outgoing.append(line[match.end() : start])
        yield self.sending(b"".join([*outgoing, line[start:], b"\r\n"]))

    def _wait_for_continuation(self, tag: bytes) -> Steps[None]:
        while True:
            response = read_response((yield from self.read_frame()))
            if isinstance(response, Continuation):
                return
            if isinstance(response, Tagged):
                self.checked("literal", self._completion(tag, response))
                raise ProtocolViolation("a command ended before it was sent")
            self.take(response, None)

    def _completion(self, tag: bytes, response: Tagged) -> Status:
        if response.tag.upper() != tag:
            raise ProtocolViolation("a tagged response to no command")
        return response.status

    def _note_capability_code(self, status: Status) -> None:
        if status.code == "CAPABILITY":
            self.note_capabilities(status.arguments)

    def _said_bye(self, status: Status) -> None:
        raise ServerBye(self.redacted(f"BYE {f'[{status.code}] ' if status.code else ''}{status.text}"))

    def _choose_literal(self, header: LiteralHeader) -> LiteralSink | Choice:
        first = header.pieces[0]
        if len(header.pieces) == 1 and isinstance(first, bytes) and is_free_text(first):
            return Choice.TEXT
        if self._literal_handler is not None:
            return self._literal_handler(header)
        return keep_small(header)


def keep_small(header: LiteralHeader) -> Choice:
    """Keep a literal in memory unless the response would hold too much of them."""
    kept = sum(piece.size for piece in header.pieces if isinstance(piece, Literal) and piece.data is not None)
    return Choice.COLLECT if kept + header.size <= MAX_SMALL_LITERAL else Choice.SKIP


def login_refused(error: CommandRefused) -> AuthFailed | TemporarilyRefused:
    """Return what a refused login means: wrong credentials, or not now (field note 13, quirks 4, 5)."""
    return TemporarilyRefused(str(error)) if is_passing(error.code, error.text) else AuthFailed(str(error))


def argument(value: bytes) -> bytes:
    """Return bytes as an argument of a command."""
    return render_astring(value)
