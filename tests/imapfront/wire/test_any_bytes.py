"""Whatever a client sends: an answer, never an exception, and the same in any chunks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapfront.protocol import CommandReceived, Event, Limits, LineReceived, Protocol
from imapfront.wire.parse_command import BadCommand, parse_command
from mailcache.wire.framing import Frame, Literal
from tests.proofs import scaled

_LIMITS = Limits(line_before_login=300, literal_before_login=30, line_after_login=600, literal_after_login=60)

# Pieces of the grammar, whole and broken: put together at random they come close to every production.
_WORDS = [
    *(b"a", b"a1", b"+", b"*", b" ", b" ", b" ", b"  ", b"(", b")", b"[", b"]", b"<", b">", b"<0.5>", b".", b",", b":"),
    *(
        b"\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b'"',
        b'"x"',
        b'""',
        b'"\\"',
        b"\\",
        b"{3+}\r\nabc",
        b"{3}\r\nabc",
        b"~{1+}\r\nx",
    ),
    *(b"{0+}\r\n", b"{99999+}\r\n", b"{31+}\r\n", b"{", b"}", b"NIL", b"\0", b"\x80", b"\xff", b"&", b"&-", b"&AOk-"),
    *(b"%", b"*", b"1", b"0", b"4294967295", b"4294967296", b"1:*", b"2,4:7", b"UID", b"INBOX", b"a/b", b"1.2", b"="),
    *(b"CAPABILITY", b"NOOP", b"LOGOUT", b"STARTTLS", b"LOGIN", b"AUTHENTICATE", b"PLAIN", b"ID", b"ENABLE", b"IDLE"),
    *(b"NAMESPACE", b"LIST", b"LSUB", b"STATUS", b"SELECT", b"EXAMINE", b"CLOSE", b"UNSELECT", b"CHECK", b"FETCH"),
    *(b"SEARCH", b"STORE", b"APPEND", b"SUBSCRIBED", b"RECURSIVEMATCH", b"SPECIAL-USE", b"RETURN", b"CHILDREN"),
    *(b"MESSAGES", b"UNSEEN", b"FAST", b"ALL", b"FULL", b"FLAGS", b"ENVELOPE", b"BODY", b"BODY.PEEK", b"RFC822.TEXT"),
    *(b"HEADER", b"HEADER.FIELDS", b"HEADER.FIELDS.NOT", b"TEXT", b"MIME", b"CHARSET", b"UTF-8", b"NOT", b"OR", b"NEW"),
    *(b"KEYWORD", b"UNKEYWORD", b"SEEN", b"SUBJECT"),
]
_MAIL = st.lists(st.sampled_from(_WORDS), max_size=40).map(b"".join)
_COMMANDS = [
    b'a LOGIN "u\\"x" {3+}\r\np d\r\n',
    b"b UID FETCH 1:*,7 (FLAGS BODY.PEEK[1.2.HEADER.FIELDS.NOT (From {2+}\r\nTo)]<0.10> RFC822.SIZE)\r\n",
    b'c LIST (SUBSCRIBED RECURSIVEMATCH) "" (INBOX "a/%" {1+}\r\n*) RETURN (CHILDREN STATUS (MESSAGES UNSEEN))\r\n',
    b"d UID SEARCH CHARSET UTF-8 OR (NEW UID 1,3:*) NOT (KEYWORD $x UNSEEN)\r\n",
    b'e ID ("name" "x" "version" NIL)\r\n',
    b'f STATUS "Entw&APw-rfe" (MESSAGES UIDNEXT)\r\n',
    b"g AUTHENTICATE PLAIN AGEAYg==\r\n",
]


def _all(protocol: Protocol, chunks: list[bytes]) -> list[Event]:
    events: list[Event] = []
    for chunk in chunks:
        protocol.feed(chunk)
        while (event := protocol.next_event()) is not None:
            events.append(event)
    return events


def _cut(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks: list[bytes] = []
    for size in sizes:
        chunks.append(data[:size])
        data = data[size:]
    return [*chunks, data]


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """Good commands with a few of their bytes replaced, removed or doubled."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(_COMMANDS), min_size=1, max_size=4))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.sampled_from(_WORDS))
    return bytes(data)


_ANY = st.one_of(_MAIL, _mutated(), st.binary(max_size=200))


def _refusal(frame: Frame) -> BadCommand | None:
    try:
        parse_command(frame)
    except BadCommand as error:
        return error
    return None


@pytest.mark.prove
@settings(max_examples=scaled(200, full=20_000), deadline=None)
@given(_ANY)
def test_a_line_is_a_command_or_bad(line: bytes) -> None:
    error = _refusal(Frame((b"t " + line,)))
    assert error is None or (error.tag == b"t" and str(error))


@given(_ANY, st.binary(max_size=20), _ANY)
def test_a_line_with_a_literal_is_a_command_or_bad(before: bytes, literal: bytes, after: bytes) -> None:
    error = _refusal(Frame((before, Literal(len(literal), literal), after)))
    assert error is None or error.tag is None or before.startswith(error.tag)


@given(_ANY, st.lists(st.integers(1, 30), max_size=20), st.booleans(), st.booleans())
def test_any_chunks_give_the_same_events(data: bytes, sizes: list[int], authenticated: bool, lines: bool) -> None:
    whole, pieces = Protocol(_LIMITS), Protocol(_LIMITS)
    for protocol in (whole, pieces):
        if authenticated:
            protocol.authenticated()
        if lines:
            protocol.expect_lines()

    events = _all(whole, [data])
    assert _all(pieces, _cut(data, sizes)) == events
    assert all(isinstance(event, LineReceived) for event in events) or not lines


@given(st.sampled_from(_COMMANDS), st.lists(st.integers(1, 5), max_size=60))
def test_good_commands_are_understood_in_any_chunks(command: bytes, sizes: list[int]) -> None:
    protocol = Protocol(Limits())

    (event,) = _all(protocol, _cut(command, sizes))
    assert isinstance(event, CommandReceived)
    assert event.tagged.tag == command[:1]
