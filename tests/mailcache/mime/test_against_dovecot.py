"""What Dovecot says of a varied corpus, we say: ENVELOPE, BODY, BODYSTRUCTURE and every BODY[section]."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from mailcache.mime.parsed import parse_message
from mailcache.mime.scan import Part, scan
from mailcache.mime.sections import Section, SectionKind, SectionTable, filter_header
from mailcache.wire.framing import Choice, Frame, Framer, Literal
from tests.corpus import headers, make_corpus
from tests.corpus.hostile import hostile_messages
from tests.proofs import scaled
from tests.servers.dovecot import Dovecot

_FIELDS = (b"subject", b"from", b"content-type")

pytestmark = pytest.mark.dovecot


class RawClient:
    """Sends commands and returns the frames of their answers as they came."""

    def __init__(self, server: Dovecot, user: str) -> None:
        self._socket = socket.create_connection((server.host, server.plain_port), timeout=60)
        self._framer = Framer(choose_literal=lambda _: Choice.COLLECT, max_line=1 << 26)
        self._read()
        self.run(b"LOGIN %b %b" % (user.encode(), server.password.encode()))
        self.run(b"EXAMINE INBOX")

    def run(self, command: bytes) -> list[Frame]:
        """Return the untagged responses to one command."""
        self._socket.sendall(b"t " + command + b"\r\n")
        frames: list[Frame] = []
        while not flat(frame := self._read()).startswith(b"t "):
            frames.append(frame)
        assert flat(frame).startswith(b"t OK"), (command, frame)
        return frames

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _read(self) -> Frame:
        while True:
            event = self._framer.next_event()
            if isinstance(event, Frame):
                return event
            if event is None:
                data = self._socket.recv(1 << 16)
                assert data, "Dovecot closed the connection"
                self._framer.feed(data)


def flat(frame: Frame) -> bytes:
    """Return a frame as it was on the wire."""
    return b"".join(
        b"{%d}\r\n%b" % (piece.size, piece.data or b"") if isinstance(piece, Literal) else piece
        for piece in frame.pieces
    )


@pytest.fixture
def messages() -> list[bytes]:
    corpus = make_corpus(seed=11, messages=500, large_bytes=0)
    return [message.data for mailbox in corpus for message in mailbox.messages] + list(headers.every_address(10_000))


@pytest.fixture
def client(dovecot: Dovecot, upstream_user: str, messages: list[bytes]) -> Iterator[RawClient]:
    with dovecot.login(upstream_user) as loader:
        for data in messages:
            assert loader.append("INBOX", "", "", data)[0] == "OK"
    client = RawClient(dovecot, upstream_user)
    yield client
    client.close()


def _stored(client: RawClient) -> list[bytes]:
    """The messages as Dovecot sends them: it makes CRLF of bare line feeds."""
    frames = client.run(b"FETCH 1:* BODY.PEEK[]")
    return [piece.data or b"" for frame in frames for piece in frame.pieces if isinstance(piece, Literal)]


def test_envelope_body_and_bodystructure(client: RawClient) -> None:
    stored = _stored(client)
    assert len(stored) > 500
    for item, attribute in ((b"ENVELOPE", "envelope"), (b"BODY", "body"), (b"BODYSTRUCTURE", "bodystructure")):
        for data, frame in zip(stored, client.run(b"FETCH 1:* " + item), strict=True):
            theirs = flat(frame).split(b"(" + item + b" ", 1)[1][:-1]
            assert getattr(parse_message(data), attribute) == theirs, data[:1000]


def test_every_section(client: RawClient) -> None:
    assert all(theirs == ours for _, ours, theirs in _every_section(client))


@pytest.mark.prove
@pytest.mark.parametrize("messages", [hostile_messages(5, scaled(300, full=5_000))])
def test_every_section_of_hostile_messages(client: RawClient) -> None:
    for section, ours, theirs in _every_section(client):
        # Where a header just ends, without an empty line, the two disagree on whose the last CRLF is: the embedded
        # message's or the boundary's (RFC 2046 5.1.1), and single fields are not read again.
        if not section.path:
            assert ours == theirs, section
        elif not section.fields:
            assert ours in (theirs, theirs + b"\r\n") or theirs == ours + b"\r\n", section


def _every_section(client: RawClient) -> Iterator[tuple[Section, bytes, bytes]]:
    """Yield each section of each message, our bytes of it, and Dovecot's."""
    for number, data in enumerate(_stored(client), start=1):
        root = scan(data).root
        table = SectionTable.unpack(SectionTable.of(root).pack())
        wanted = list(_sections(root))
        items = b" ".join(b"BODY.PEEK[%b]" % _spelled(section) for section in wanted)
        frame = client.run(b"FETCH %d (%b)" % (number, items))[0]
        for section, theirs in zip(wanted, _values(frame), strict=True):
            ours = _ours(data, table, section)
            # Of a part that is nothing but an empty line Dovecot shows no MIME header; we show the line.
            if ours != b"\r\n" or section.kind is not SectionKind.MIME:
                yield section, ours, theirs


def _ours(data: bytes, table: SectionTable, section: Section) -> bytes:
    found = table.locate(section)
    if found is None:
        return b""
    ours = data[found[0] : found[1]]
    if section.fields:
        return filter_header(ours, section.fields, exclude=section.kind is SectionKind.HEADER_FIELDS_NOT)
    return ours


def _sections(root: Part) -> Iterator[Section]:
    paths = [(), *_paths(root, ()), (9,), (1, 1, 1, 1)]
    for path in paths[:15]:
        for kind in SectionKind:
            if path or kind is not SectionKind.MIME:
                yield Section(path, kind, _FIELDS if kind.value.startswith("HEADER.FIELDS") else ())


def _paths(part: Part, path: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield the part numbers of a message."""
    if not (part.is_multipart and part.children):
        yield (*path, 1)
        if part.message is not None:
            yield from _paths(part.message, (*path, 1))
        return
    for number, child in enumerate(part.children, start=1):
        yield (*path, number)
        if child.is_multipart and child.children:
            yield from _paths(child, (*path, number))
        elif child.message is not None:
            yield from _paths(child.message, (*path, number))


def _spelled(section: Section) -> bytes:
    text = ".".join([*map(str, section.path), *([section.kind.value] if section.kind.value else [])]).encode()
    return text + (b" (%b)" % b" ".join(section.fields) if section.fields else b"")


def _values(frame: Frame) -> Iterator[bytes]:
    """Yield the values of a FETCH answer that holds nothing but sections."""
    for index, piece in enumerate(frame.pieces):
        if isinstance(piece, Literal):
            yield piece.data or b""
            continue
        values = piece.split(b"]")[1:]
        # The last section of a text before a literal has that literal as its value.
        for value in values if index == len(frame.pieces) - 1 else values[:-1]:
            assert value.split()[0].rstrip(b")") in (b"NIL", b'""'), value
            yield b""
