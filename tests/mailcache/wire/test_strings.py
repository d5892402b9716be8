"""Strings as they go over the wire are read back as they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcache.wire.framing import Choice, Frame, Framer
from mailcache.wire.scanner import Scanner
from mailcache.wire.strings import (
    is_atom,
    render_astring,
    render_nstring,
    render_nstring_utf8,
    render_string,
    render_string_utf8,
)

VALUES = st.one_of(st.binary(max_size=60), st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace")))


def framed(raw: bytes) -> Frame:
    """Return the one frame that ``raw`` is."""
    framer = Framer(choose_literal=lambda header: Choice.COLLECT, max_line=100_000)
    framer.feed(raw + b"\r\n")
    event = framer.next_event()
    while event is not None and not isinstance(event, Frame):
        event = framer.next_event()
    assert event is not None
    return event


@given(VALUES)
def test_strings_round_trip(value: bytes) -> None:
    assert Scanner(framed(render_string(value))).string() == value
    assert Scanner(framed(render_astring(value))).astring() == value
    assert Scanner(framed(render_nstring(value))).nstring() == value


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n")).map(str.encode))
def test_utf8_stays_quoted(value: bytes) -> None:
    assert render_string_utf8(value).startswith(b'"')
    assert Scanner(framed(render_nstring_utf8(value))).nstring() == value


def test_none_is_nil_and_nil_is_no_atom() -> None:
    assert render_nstring(None) == render_nstring_utf8(None) == b"NIL"
    assert render_astring(b"NIL") == b'"NIL"'
    assert render_astring(b"") == b'""'


@pytest.mark.parametrize("value", ["ü".encode(), b"\x00", b"a\r\nb"])
def test_what_cannot_be_quoted_is_a_literal(value: bytes) -> None:
    assert render_string(value) == b"{%d}\r\n%b" % (len(value), value)


def test_invalid_utf8_is_a_literal() -> None:
    assert render_string_utf8(b"\xff") == b"{1}\r\n\xff"
    assert render_string_utf8("ü".encode()) == b'"\xc3\xbc"'


@pytest.mark.parametrize(
    ("value", "atom"), [(b"abc", True), (b"", False), (b"a b", False), (b"a]", False), (b"a%", False), (b"\\x", False)]
)
def test_atoms(value: bytes, atom: bool) -> None:
    assert is_atom(value) is atom
