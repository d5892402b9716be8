"""UID FETCH (RFC 3501 6.4.5, 6.4.8): in commands of bounded length, message by message to the caller."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence

from mailcache.wire.dates import parse_date_time_lenient
from mailcache.wire.framing import Choice, Framer, Literal, LiteralHeader, LiteralSink
from mailcache.wire.number_set import MAX_NUMBER, NumberSet, Range, SequenceSet
from sync.upstream.errors import NotOffered, ProtocolViolation, Severity
from sync.upstream.protocol.announcements import (
    FETCHES,
    MAX_VANISHED_RANGES,
    read_message,
    read_vanished,
    slim_event,
)
from sync.upstream.protocol.fetch_items import flags_of, uid_of
from sync.upstream.protocol.requests import Steps
from sync.upstream.protocol.responses import Untagged
from sync.upstream.protocol.session import Handlers, Session
from sync.upstream.protocol.stream import keep_small
from sync.upstream.values import FetchedMessage, LiteralInfo, OnMessage, OpenSink

# Servers cut off or refuse lines of 8,192 and 10,000 bytes (quirks 18, 42).
_MAX_SET = 7_500
_WORTH_WAITING = 64 << 10
MAX_KEPT = 64 << 20
"""Bytes of one response that are kept in memory where no sink takes them."""

# What a sync asks of every message, in whatever order the server tells it; all else goes the long way.
_PLAIN_ITEMS = (
    rb"\* (\d{1,10}) FETCH \((?:UID (\d{1,10})|FLAGS \(([^(){\"\r\n]*)\)|INTERNALDATE \"([^\"\\\r\n]*)\""
    rb"|RFC822\.SIZE (\d{1,18})|MODSEQ \((\d{1,18})\)| )+"
)
_PLAIN = re.compile(_PLAIN_ITEMS + rb"\)\r\n")
_PLAIN_BODY = re.compile(_PLAIN_ITEMS + rb"BODY\[\] \{(\d{1,9})\}\r\n")
# Yahoo's large mailboxes (RFC 9586): the number in front is the UID.
_UIDONLY = re.compile(_PLAIN.pattern.replace(b" FETCH ", b" UIDFETCH "))
_UIDONLY_BODY = re.compile(_PLAIN_BODY.pattern.replace(b" FETCH ", b" UIDFETCH "))
_SECTION_BEFORE = re.compile(rb"(?:BODY|BINARY)\[((?:[^\]\"]|\"[^\"]*\")*)\](<\d{1,20}>)? *\Z", re.IGNORECASE)
_HEAD = re.compile(rb"[\x00\s]*\* +(\d{1,20}) +(UID)?FETCH\b", re.IGNORECASE)
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_UID = re.compile(rb"[( ]UID (\d{1,10})[ )]", re.IGNORECASE)


def uid_fetch(
    session: Session, uids: Sequence[int], items: bytes, on_message: OnMessage, open_sink: OpenSink | None
) -> Steps[None]:
    """Fetch ``items`` of ``uids``; what the upstream tells of other messages is kept for ``noop`` and ``idle``."""
    receiver = Receiver(session, frozenset(uids), on_message, open_sink)
    handlers = Handlers(untagged=receiver.untagged, plain_lines=receiver.plain_lines, literal=receiver.choose_literal)
    for sequence_set in command_sets(uids, most=session.profile.largest_fetch):
        yield from session.command("UID FETCH", sequence_set + b" " + items, handlers, severity=Severity.MESSAGE)


def uid_fetch_set(
    session: Session,
    sequence_set: bytes,
    items: bytes,
    on_message: OnMessage,
    *,
    changed_since: int | None,
    vanished: bool,
) -> Steps[NumberSet]:
    """Fetch ``items`` of a sequence set, in one command; returns the UIDs of it that are gone, where asked for.

    Raises ``NotOffered`` where the upstream cannot do what the modifiers (RFC 7162 3.1.4.1, 3.2.6) ask for.
    """
    if vanished and (changed_since is None or not session.uses_qresync):
        raise NotOffered("the upstream does not offer QRESYNC")
    if changed_since is not None and not session.offers("CONDSTORE"):
        raise NotOffered("the upstream does not offer CONDSTORE")
    # ``*`` is the last message, whatever its UID, and in every range that ends with it (RFC 3501 6.4.8).
    wanted = NumberSet([(1, MAX_NUMBER)]) if b"*" in sequence_set else SequenceSet.parse(sequence_set).resolve(None)
    receiver = Receiver(session, wanted, on_message, None)
    gone: list[Range] = []

    def untagged(response: Untagged) -> bool:
        if vanished and response.name == b"VANISHED":
            gone.extend(_vanished_earlier(session, response))
            if len(gone) > MAX_VANISHED_RANGES:
                raise ProtocolViolation("VANISHED responses name more UIDs than can be kept")
            return True
        return receiver.untagged(response)

    modifiers = b""
    if changed_since is not None:
        modifiers = b" (CHANGEDSINCE %d%b)" % (changed_since, b" VANISHED" if vanished else b"")
    handlers = Handlers(untagged=untagged, plain_lines=receiver.plain_lines, literal=receiver.choose_literal)
    arguments = sequence_set + b" " + items + modifiers
    yield from session.command("UID FETCH", arguments, handlers, severity=Severity.MAILBOX)
    return NumberSet(gone)


def _vanished_earlier(session: Session, response: Untagged) -> Sequence[Range]:
    try:
        earlier, uids = read_vanished(response)
    except ValueError:
        # A UID that is overlooked would stay for ever: the modseq that is stored then covers it.
        raise ProtocolViolation("a VANISHED response that cannot be read") from None
    if not earlier:
        session.announce(response)
    return uids.ranges


def command_sets(uids: Iterable[int], *, most: int | None = None) -> Iterator[bytes]:
    """Yield ascending sequence sets, short and of at most ``most`` messages, that together name exactly ``uids``."""
    numbers = sorted(set(uids))
    step = most or len(numbers) or 1
    for start in range(0, len(numbers), step):
        yield from _short_sets(NumberSet.from_numbers(numbers[start : start + step]))


def _short_sets(numbers: NumberSet) -> Iterator[bytes]:
    pieces: list[str] = []
    length = 0
    for first, last in numbers.ranges:
        piece = str(first) if first == last else f"{first}:{last}"
        if length + len(piece) > _MAX_SET:
            yield ",".join(pieces).encode("ascii")
            pieces, length = [], 0
        pieces.append(piece)
        length += len(piece) + 1
    if pieces:
        yield ",".join(pieces).encode("ascii")


class Receiver:
    """Takes the FETCH responses of one ``uid_fetch``."""

    def __init__(
        self, session: Session, wanted: Container[int], on_message: OnMessage, open_sink: OpenSink | None
    ) -> None:
        self._session = session
        self._wanted = wanted
        self._on_message = on_message
        self._open_sink = open_sink
        self._plain, self._plain_body = _PLAIN, _PLAIN_BODY
        self._plain_message: Callable[..., FetchedMessage] = _plain_message
        if "UIDONLY" in session.enabled:
            self._plain, self._plain_body, self._plain_message = _UIDONLY, _UIDONLY_BODY, _uidonly_message

    def plain_lines(self, framer: Framer) -> bool:
        """Take rows and bodies that have arrived whole without framing and scanning each: they come by the thousand.

        Tells whether a small body has arrived in part, which is worth waiting for.
        """
        while True:
            groups = framer.take_match(self._plain)
            if groups is not None:
                self._deliver(self._plain_message(*groups))
                continue
            found = framer.take_with_literal(self._plain_body, b")\r\n")
            if isinstance(found, int):
                return 0 < found <= _WORTH_WAITING
            groups, data = found
            message = self._plain_message(*groups[:-1])
            self._deliver(message._replace(sections={b"": self._kept(message, data)}))

    def untagged(self, response: Untagged) -> bool:
        """Take a FETCH response. One that cannot be read costs itself only (field note 37)."""
        if response.name not in FETCHES:
            return False
        try:
            message = read_message(response)
        except ValueError:
            self._session.statistics.malformed += 1
        else:
            self._deliver(message)
        return True

    def choose_literal(self, header: LiteralHeader) -> LiteralSink | Choice:
        """Send the bytes of a section to the caller's sink; keep everything else within bounds."""
        text = b" ".join(_QUOTED.sub(b'""', piece) for piece in header.pieces if isinstance(piece, bytes))
        head = _HEAD.match(text)
        section = _SECTION_BEFORE.search(header.preceding)
        if head is None or section is None:
            return keep_small(header)
        found = head if head[2] else _UID.search(text)
        uid = uid_of(int(found[1])) if found else None
        if uid is not None and uid not in self._wanted:
            return Choice.SKIP
        info = LiteralInfo(0 if head[2] else int(head[1]), uid, section[1].upper() + (section[2] or b""), header.size)
        sink = self._open_sink(info) if self._open_sink is not None else None
        if sink is not None:
            return sink
        kept = sum(piece.size for piece in header.pieces if isinstance(piece, Literal) and piece.data is not None)
        return Choice.COLLECT if kept + header.size <= MAX_KEPT else Choice.SKIP

    def _kept(self, message: FetchedMessage, data: bytes) -> bytes | LiteralSink:
        if self._open_sink is None or message.uid not in self._wanted:
            return data
        sink = self._open_sink(LiteralInfo(message.seq, message.uid, b"", len(data)))
        if sink is None:
            return data
        if data:
            sink.write(data)
        return sink

    def _deliver(self, message: FetchedMessage) -> None:
        if message.uid in self._wanted:
            self._on_message(message)
        else:
            # Another client changed a flag, or the upstream answers what nobody asked (quirks 26, 43).
            self._session.pending.append(slim_event(message))


def _plain_message(
    seq: bytes | None,
    uid: bytes | None,
    flags: bytes | None,
    date: bytes | None,
    size: bytes | None,
    modseq: bytes | None,
) -> FetchedMessage:
    return FetchedMessage(
        int(seq or 0),
        None if uid is None else uid_of(int(uid)),
        None if flags is None else flags_of(flags),
        None if date is None else parse_date_time_lenient(date),
        None if size is None else int(size),
        None if modseq is None else int(modseq),
    )


def _uidonly_message(
    uid: bytes | None,
    _uid: bytes | None,
    flags: bytes | None,
    date: bytes | None,
    size: bytes | None,
    modseq: bytes | None,
) -> FetchedMessage:
    return _plain_message(None, uid, flags, date, size, modseq)
