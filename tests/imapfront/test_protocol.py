"""The connection without its socket: commands in pieces, limits, literals, what is no command."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapfront.protocol import (
    MAX_BAD_BEFORE_LOGIN,
    CommandReceived,
    Event,
    Fault,
    Hangup,
    Limits,
    LineReceived,
    Protocol,
    SendContinuation,
)
from imapfront.wire import commands as c

_LIMITS = Limits(line_before_login=200, literal_before_login=20, line_after_login=1000, literal_after_login=100)


def _events(protocol: Protocol, data: bytes) -> list[Event]:
    protocol.feed(data)
    events: list[Event] = []
    while (event := protocol.next_event()) is not None:
        events.append(event)
    return events


def _commands(events: list[Event]) -> list[c.Command]:
    return [event.tagged.command for event in events if isinstance(event, CommandReceived)]


def test_commands_come_in_order() -> None:
    events = _events(Protocol(_LIMITS), b"a NOOP\r\nb LOGIN x {3+}\r\npwd\r\nc SELECT inbox\r\n")

    assert _commands(events) == [c.Noop(), c.Login("x", "pwd"), c.Select("INBOX")]


def test_a_synchronizing_literal_is_asked_for() -> None:
    protocol = Protocol(_LIMITS)

    assert _events(protocol, b"a LOGIN {4}\r\n") == [SendContinuation()]
    assert _commands(_events(protocol, b"user pwd\r\n")) == [c.Login("user", "pwd")]


@given(st.lists(st.integers(1, 9), max_size=30))
def test_any_chunks_give_the_same_commands(cuts: list[int]) -> None:
    data = b'a LOGIN "u" {3+}\r\np d\r\nb UID FETCH 1:* (FLAGS BODY[HEADER.FIELDS ("From")])\r\n'
    whole = _events(Protocol(_LIMITS), data)
    protocol, events, position = Protocol(_LIMITS), [], 0
    for cut in cuts:
        events += _events(protocol, data[position : position + cut])
        position += cut
    events += _events(protocol, data[position:])

    assert events == whole
    assert len(_commands(whole)) == 2


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"a LOGIN {21}\r\n", Fault(b"a", "a literal of 21 bytes is too large here", status="NO", code="TOOBIG")),
        (b"a " + b"x" * 300 + b"\r\n", Fault(b"a", "the line is too long")),
        (b"a NOPE\r\n", Fault(b"a", "unknown command NOPE")),
        (b"\r\n", Fault(None, "expected a tag and a command")),
        (b"a NOOP now\r\n", Fault(b"a", "expected the end of the line, found ' now'")),
    ],
)
def test_faults_are_told_and_the_next_command_is_read(line: bytes, fault: Fault) -> None:
    assert _events(Protocol(_LIMITS), line + b"b NOOP\r\n") == [fault, *_events(Protocol(_LIMITS), b"b NOOP\r\n")]


def test_a_refused_literal_without_waiting_is_read_past() -> None:
    events = _events(Protocol(_LIMITS), b"a LOGIN {30+}\r\n" + b"b NOOP\r\n" * 3 + b"xxxxxx x\r\nc NOOP\r\n")

    assert isinstance(events[0], Fault)
    assert _commands(events) == [c.Noop()]


def test_the_literals_of_a_command_are_limited_together() -> None:
    events = _events(Protocol(_LIMITS), b"a LOGIN {12+}\r\n" + b"x" * 12 + b" {9+}\r\n" + b"y" * 9 + b"\r\nb NOOP\r\n")

    assert isinstance(events[0], Fault)
    assert _commands(events) == [c.Noop()]


def test_limits_widen_with_the_login() -> None:
    protocol = Protocol(_LIMITS)
    protocol.authenticated()

    assert _events(protocol, b"a SELECT {50}\r\n") == [SendContinuation()]


def test_a_client_that_sends_nonsense_is_hung_up_on() -> None:
    events = _events(Protocol(_LIMITS), b"GET / HTTP/1.1\r\n" * (MAX_BAD_BEFORE_LOGIN + 1))

    assert isinstance(events[-1], Hangup)


def test_lines_are_read_as_they_are() -> None:
    protocol = Protocol(_LIMITS)
    protocol.expect_lines()

    assert _events(protocol, b"DONE {5}\r\n") == [LineReceived(b"DONE {5}")]


def test_what_was_sent_before_tls_is_forgotten() -> None:
    protocol = Protocol(_LIMITS)
    protocol.feed(b"a STARTTLS\r\nb LOGIN injected command\r\n")
    protocol.next_event()

    assert protocol.tls_started() == len(b"b LOGIN injected command\r\n")
    assert protocol.next_event() is None


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(data: bytes) -> None:
    for event in _events(Protocol(_LIMITS), data + b"\r\n"):
        assert isinstance(event, CommandReceived | SendContinuation | Fault | Hangup)


@pytest.mark.parametrize(
    ("data", "is_amid"),
    [
        (b"", False),
        (b"a NOOP\r\n", False),
        (b"a NO", True),
        (b"a LOGIN x {3+}\r\n", True),
        (b"a LOGIN x {3+}\r\npw", True),
        (b"a LOGIN x {3+}\r\npwd", True),
        (b"a LOGIN x {3}\r\n", True),
        (b"a LOGIN x {3+}\r\npwd\r\n", False),
        (b"a LOGIN x {30+}\r\n123", True),  # refused, and read past
    ],
)
def test_whether_more_of_a_command_is_to_come(data: bytes, *, is_amid: bool) -> None:
    protocol = Protocol(_LIMITS)
    _events(protocol, data)
    assert protocol.is_amid_command is is_amid
