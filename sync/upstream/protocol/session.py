"""One connection's state and the loop that runs a command: sends it, reads until its tagged response."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from mailcache.wire.framing import ContinuationWanted, Frame, Framer
from mailcache.wire.strings import render_astring
from sync.profiles import GENERIC, Profile
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
from sync.upstream.protocol.announcements import read_announcement
from sync.upstream.protocol.requests import Deadline, Pause, Steps
from sync.upstream.protocol.responses import (
    Continuation,
    Status,
    Stray,
    Tagged,
    Untagged,
    read_response,
)
from sync.upstream.protocol.stream import ChooseLiteral, Stream
from sync.upstream.protocol.throttle import Throttle
from sync.upstream.values import IdleEvent, IdleKind, SelectedMailbox

MAX_PENDING_EVENTS = 1_000
_LONG_SECRET = 40
_LITERAL = re.compile(rb"\{(\d+)\}\r\n")
_NOT_CONNECTED = re.compile(r"authenticated but not connected", re.IGNORECASE)
# RFC 7162 3.2: whoever has QRESYNC has CONDSTORE, also where it is not listed.
_IMPLIED = {"CONDSTORE": "QRESYNC"}
# RFC 9051 Appendix E.
_IN_REV2 = frozenset(
    {"NAMESPACE", "ESEARCH", "ENABLE", "IDLE", "SASL-IR", "LIST-EXTENDED", "LIST-STATUS", "SPECIAL-USE", "LITERAL-"}
)
# They concern other mailboxes, so that opening one does not end them.
_OF_THE_ACCOUNT = frozenset({IdleKind.STATUS, IdleKind.LIST, IdleKind.OVERFLOW})

T = TypeVar("T")
OnUntagged = Callable[[Untagged], bool]
"""Takes an untagged response; tells whether it was meant for the command."""


class Handlers(NamedTuple):
    """What one command does with what comes before its tagged response."""

    untagged: OnUntagged | None = None
    continuation: Callable[[bytes], bytes | None] | None = None
    """Takes ``+``; returns what to send, if anything."""
    plain_lines: Callable[[Framer], bool] | None = None
    """Takes what comes by the thousand straight off the framer; tells whether to wait for the rest of it."""
    literal: ChooseLiteral | None = None


NO_HANDLERS = Handlers()


class Session(Stream):
    """The protocol's state on one connection. It does no I/O: its methods are steps for a driver."""

    def __init__(self, deadlines: Deadlines, profile: Profile = GENERIC, refused: Iterable[str] = ()) -> None:
        super().__init__()
        self.deadlines = deadlines
        self.profile = profile
        self.capabilities: frozenset[str] = frozenset()
        self.enabled: frozenset[str] = frozenset()
        self.said = ""
        self.greeted = False
        self.selected: SelectedMailbox | None = None
        self.pending: deque[IdleEvent] = deque(maxlen=MAX_PENDING_EVENTS)
        self.masked = profile.masked | frozenset(refused) | (frozenset() if profile.idle else {"IDLE"})
        self.refused: set[str] = set(self.masked)
        """What must not be used: masked, or advertised and then rejected (field note 42)."""
        self.throttle = Throttle(enabled=profile.throttle)
        self.idle_tag: bytes | None = None
        self.notifying = False
        self.listening = False
        """True while announcements are waited for without IDLE, which NOTIFY allows."""
        self.logging_out = False
        self.secrets: tuple[str, ...] = ()
        """Texts that no error may repeat."""

    def offers(self, capability: str) -> bool:
        """True when an extension may be used: advertised on this connection, not masked, not rejected since."""
        if capability in self.refused:
            return False
        if capability in self.capabilities:
            return True
        if capability in _IN_REV2 and self.profile.rev2 and self.offers("IMAP4REV2"):
            return True
        return capability in _IMPLIED and self.offers(_IMPLIED[capability])

    @property
    def uses_qresync(self) -> bool:
        """True when QRESYNC was enabled on this connection and not rejected since (quirk 22)."""
        return "QRESYNC" in self.enabled and self.offers("QRESYNC") and self.offers("CONDSTORE")

    def refuse(self, capability: str, error: CommandRefused) -> None:
        """Remember that something advertised was rejected, unless the reason is a passing one."""
        if not is_passing(error.code, error.text):
            self.refused.add(capability)

    def first_accepted(
        self,
        variants: Iterable[tuple[str, bytes]],
        run: Callable[[bytes], Steps[T]],
        *,
        rejections: tuple[type[CommandRefused], ...] = (CommandBad,),
    ) -> Steps[T]:
        """Run a command in the first of its variants, (extension it adds, arguments), that is not rejected.

        Each adds to the one after it; the last needs no extension. One that works proves that what the one before it
        adds was at fault, and only that.
        """
        rejected: set[str] = set()
        for capability, arguments in variants:
            try:
                result = yield from run(arguments)
            except rejections as error:
                if not capability or is_passing(error.code, error.text):
                    raise
                rejected = {capability}
            else:
                self.refused.update(rejected)
                return result
        raise ValueError("a command without a variant that needs no extension")

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
        self.listening = False
        yield from self.pause()
        total = patience or self.deadlines.command
        yield Deadline(name, total, patience or self.deadlines.inactivity)
        tag = self.next_tag(name)
        yield from self._send(tag, b"%b %b" % (name.encode("ascii"), arguments) if arguments else name.encode("ascii"))
        status = yield from self.read_until(tag, handlers)
        return self.checked(name, status, severity)

    def pause(self) -> Steps[None]:
        """Wait as long as an upstream that throttles makes us."""
        if self.throttle.pause:
            yield Pause(self.throttle.pause)

    def checked(self, name: str, status: Status, severity: Severity = Severity.TRANSIENT) -> Status:
        """Return a status that is OK; raise for others."""
        if status.condition == b"OK":
            self._note_code(status)
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
        self.literal_handler = handlers.literal
        while True:
            event = None if plain_lines is not None and plain_lines(framer) else framer.next_event()
            if event is None:
                yield from self.more()
            elif isinstance(event, Frame):
                response = read_response(event)
                if isinstance(response, Tagged):
                    self.literal_handler = None
                    return self._completion(tag, response)
                if isinstance(response, Continuation):
                    answer = handlers.continuation(response.text) if handlers.continuation else None
                    if answer is not None:
                        yield self.sending(answer)
                else:
                    self.take(response, handlers.untagged)
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
            self._note_code(response.status())
        else:
            self.announce(response)

    def announce(self, response: Untagged) -> None:
        """Keep what the upstream tells by itself until somebody asks."""
        try:
            event = read_announcement(response)
        except ValueError:
            self.statistics.malformed += 1
        else:
            if event is not None:
                self.pending.append(event)

    def forget_selected(self) -> None:
        """Forget the open mailbox and what was announced of it."""
        self.selected = None
        kept = [event for event in self.pending if event.kind in _OF_THE_ACCOUNT]
        self.pending.clear()
        self.pending.extend(kept)

    def note_capabilities(self, listed: bytes) -> None:
        """Replace what is known of the upstream's extensions."""
        self.capabilities = frozenset(listed.decode("ascii", errors="replace").upper().split())

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
            if len(secret) >= _LONG_SECRET:
                # Tokens have thousands of characters, and what is quoted may end in the middle of one.
                text = re.sub(re.escape(secret[: _LONG_SECRET // 2]) + r"\S*", "[…]", text)
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
                yield from self.go_ahead(tag, "literal")
                outgoing = []
            start = match.end() + size
            outgoing.append(line[match.end() : start])
        yield self.sending(b"".join([*outgoing, line[start:], b"\r\n"]))

    def go_ahead(self, tag: bytes, name: str, severity: Severity = Severity.TRANSIENT) -> Steps[None]:
        """Wait until the upstream asks for a literal; raises when it ends the command instead."""
        while True:
            response = read_response((yield from self.read_frame()))
            if isinstance(response, Continuation):
                return
            if isinstance(response, Tagged):
                self.checked(name, self._completion(tag, response), severity)
                raise ProtocolViolation("a command ended before it was sent")
            self.take(response, None)

    def _completion(self, tag: bytes, response: Tagged) -> Status:
        if response.tag.upper() != tag:
            raise ProtocolViolation("a tagged response to no command")
        self.throttle.note(response.status)
        return response.status

    def _note_code(self, status: Status) -> None:
        if status.code == "CAPABILITY":
            self.note_capabilities(status.arguments)
        elif status.code == "NOTIFICATIONOVERFLOW":
            self.notifying = False  # RFC 5465 5.8
            self.pending.append(IdleEvent(IdleKind.OVERFLOW))

    def _said_bye(self, status: Status) -> None:
        raise ServerBye(self.redacted(f"BYE {f'[{status.code}] ' if status.code else ''}{status.text}"))


def login_refused(error: CommandRefused) -> AuthFailed | TemporarilyRefused:
    """Return what a refused login means: wrong credentials, or not now (field note 13, quirks 4, 5)."""
    return TemporarilyRefused(str(error)) if is_passing(error.code, error.text) else AuthFailed(str(error))


def argument(value: bytes) -> bytes:
    """Return bytes as an argument of a command."""
    return render_astring(value)
