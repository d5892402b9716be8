"""What one client may make the server hold, read past, or put up with."""

from __future__ import annotations

import pytest

from imapfront.protocol import (
    MAX_BAD_AFTER_LOGIN,
    MAX_BAD_BEFORE_LOGIN,
    MAX_SKIPPED_BEFORE_LOGIN,
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

_LIMITS = Limits(
    line_before_login=200,
    literal_before_login=20,
    line_after_login=1_000,
    literal_after_login=100,
    literals_per_command=5,
)
_TOO_LARGE = "a literal of {} bytes is too large here"


def _protocol(*, authenticated: bool = False) -> Protocol:
    protocol = Protocol(_LIMITS)
    if authenticated:
        protocol.authenticated()
    return protocol


def _events(protocol: Protocol, data: bytes) -> list[Event]:
    protocol.feed(data)
    events: list[Event] = []
    while (event := protocol.next_event()) is not None:
        events.append(event)
    return events


def _commands(events: list[Event]) -> list[c.Command]:
    return [event.tagged.command for event in events if isinstance(event, CommandReceived)]


def test_all_literals_of_a_command_count_together() -> None:
    events = _events(_protocol(), b"a LOGIN {11+}\r\nabcdefghijk {10+}\r\nabcdefghij\r\nb NOOP\r\n")

    assert events[0] == Fault(b"a", _TOO_LARGE.format(10), "NO", "TOOBIG")
    assert _commands(events) == [c.Noop()]


def test_the_next_command_has_its_literals_to_itself() -> None:
    command = b"a LOGIN {10+}\r\nabcdefghij {10+}\r\nabcdefghij\r\n"

    assert len(_commands(_events(_protocol(), command * 3))) == 3


def test_a_literal_after_a_refused_one_is_judged_anew() -> None:
    events = _events(_protocol(), b"a LOGIN {21+}\r\n" + b"x" * 21 + b" y\r\nb LOGIN {20+}\r\n" + b"x" * 20 + b" y\r\n")

    assert [type(event) for event in events] == [Fault, CommandReceived]


def test_the_number_of_literals_is_bounded() -> None:
    line = b"a FETCH 1 BODY[HEADER.FIELDS (" + b"{1+}\r\nx " * 6 + b")]\r\nb NOOP\r\n"
    events = _events(_protocol(authenticated=True), line)

    assert events[0] == Fault(b"a", "too many literals in one command")
    assert _commands(events) == [c.Noop()]


def test_nobody_waits_for_the_end_of_a_gigantic_literal() -> None:
    protocol = _protocol()
    events = _events(protocol, b"a LOGIN {%d+}\r\nxxx" % (MAX_SKIPPED_BEFORE_LOGIN + 1))

    assert [type(event) for event in events] == [Hangup]
    assert _events(protocol, b"x" * MAX_SKIPPED_BEFORE_LOGIN + b"\r\nb NOOP\r\n") == []


def test_a_gigantic_literal_that_waits_for_permission_is_only_refused() -> None:
    events = _events(_protocol(), b"a LOGIN {9999999999999}\r\nb NOOP\r\n")

    assert events[0] == Fault(b"a", _TOO_LARGE.format(9999999999999), "NO", "TOOBIG")
    assert _commands(events) == [c.Noop()]


@pytest.mark.parametrize("size", [b"99999999999999999999", b"-1", b"x", b"", b"3++", b" 3"])
def test_what_is_no_literal_is_a_bad_line(size: bytes) -> None:
    events = _events(_protocol(), b"a LOGIN {" + size + b"}\r\nb NOOP\r\n")

    assert isinstance(events[0], Fault)
    assert events[0].tag == b"a"
    assert _commands(events) == [c.Noop()]


def test_binary_literals_have_no_place() -> None:
    events = _events(_protocol(), b"a LOGIN x ~{3+}\r\npwd\r\nb NOOP\r\n")

    assert events[0] == Fault(b"a", "a binary literal has no place here")
    assert _commands(events) == [c.Noop()]


def test_a_literal_holds_no_nul() -> None:
    assert _events(_protocol(), b"a LOGIN x {3+}\r\np\0d\r\n") == [Fault(b"a", "a literal that holds NUL")]


@pytest.mark.parametrize(
    ("start", "tag"), [(b"a.1-x NOOP ", b"a.1-x"), (b"x" * 50, None), (b" NOOP", None), (b"+ NOOP", None)]
)
def test_a_line_too_long_is_answered_by_its_tag_if_it_has_one(start: bytes, tag: bytes | None) -> None:
    events = _events(_protocol(), start + b"x" * 300 + b"\r\nb NOOP\r\n")

    assert events[0] == Fault(tag, "the line is too long")
    assert _commands(events) == [c.Noop()]


def test_a_line_without_end_is_not_kept() -> None:
    protocol = _protocol()
    for _ in range(1_000):
        assert _events(protocol, b"x" * 1_000) == []

    assert protocol.buffered < 1_000


def test_lines_of_idle_are_bounded_at_once() -> None:
    protocol = _protocol()
    protocol.expect_lines()

    assert _events(protocol, b"x" * 201) == [Hangup("the line is too long")]


def test_commands_behind_done_wait_for_the_end_of_idle() -> None:
    protocol = _protocol(authenticated=True)
    assert _commands(_events(protocol, b"a IDLE\r\n")) == [c.Idle()]
    protocol.expect_lines()
    protocol.feed(b"DONE\r\nb NOOP\r\n")

    assert protocol.next_event() == LineReceived(b"DONE")
    protocol.expect_commands()
    assert _commands(_events(protocol, b"")) == [c.Noop()]


def test_before_the_login_bad_lines_count_in_all() -> None:
    events = _events(_protocol(), b"a NOPE\r\nb NOOP\r\n" * (MAX_BAD_BEFORE_LOGIN + 1))

    assert isinstance(events[-1], Hangup)
    assert sum(isinstance(event, Fault) for event in events) == MAX_BAD_BEFORE_LOGIN


def test_after_the_login_bad_lines_count_in_a_row() -> None:
    protocol = _protocol(authenticated=True)
    events = _events(protocol, (b"a NOPE\r\n" * MAX_BAD_AFTER_LOGIN + b"b NOOP\r\n") * 3)

    assert not any(isinstance(event, Hangup) for event in events)
    assert isinstance(_events(protocol, b"a NOPE\r\n" * (MAX_BAD_AFTER_LOGIN + 1))[-1], Hangup)


def test_asking_for_what_is_not_supported_is_no_nonsense() -> None:
    events = _events(_protocol(authenticated=True), b"a UID SEARCH SUBJECT x\r\n" * (MAX_BAD_AFTER_LOGIN + 10))

    assert {type(event) for event in events} == {Fault}


def test_an_unknown_charset_is_told_with_those_that_are_known() -> None:
    events = _events(_protocol(authenticated=True), b"a SEARCH CHARSET KOI8-R ALL\r\n")

    assert events == [
        Fault(b"a", "the charset of a search is UTF-8 or US-ASCII", status="NO", code="BADCHARSET (UTF-8 US-ASCII)")
    ]


def test_no_password_is_in_the_repr_of_an_event() -> None:
    protocol = _protocol()
    protocol.expect_lines()

    assert "secret" not in repr(_events(_protocol(), b"a LOGIN joe secret\r\n"))
    assert "secret" not in repr(_events(protocol, b"secret\r\n"))


def test_a_continuation_is_asked_for_each_literal() -> None:
    protocol = _protocol()

    assert _events(protocol, b"a LOGIN {3}\r\n") == [SendContinuation()]
    assert _events(protocol, b"joe {2}\r\n") == [SendContinuation()]
    assert _commands(_events(protocol, b"pw\r\n")) == [c.Login("joe", "pw")]
