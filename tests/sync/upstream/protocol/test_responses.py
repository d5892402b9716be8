"""Telling responses apart."""

from __future__ import annotations

import time

import pytest

from mailcache.wire.framing import Frame
from sync.upstream.protocol.responses import Continuation, Status, Stray, Tagged, Untagged, is_free_text, read_response


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"* OK hi", Untagged),
        (b"*  12  EXISTS", Untagged),
        (b"\x00* LIST () NIL x", Untagged),
        (b"A0001 OK done", Tagged),
        (b"a0001 no", Tagged),
        (b"+ go", Continuation),
        (b"+", Continuation),
        (b"", Stray),
        (b"Server Unavailable.", Stray),
        (b"* (x)", Stray),
        (b"*", Stray),
        (b"A0001 MAYBE x", Stray),
    ],
)
def test_kinds(line: bytes, kind: type) -> None:
    assert isinstance(read_response(Frame((line,))), kind)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"* OK [UIDNEXT 5] next", Status(b"OK", "UIDNEXT", b"5", "next")),
        (b"* NO [Unavailable] later", Status(b"NO", "UNAVAILABLE", b"", "later")),
        (b"* OK [PERMANENTFLAGS (\\Seen a]b \\*)] ok", Status(b"OK", "PERMANENTFLAGS", b"(\\Seen a]b \\*)", "ok")),
        (b"* OK [HIGHESTMODSEQ 7]", Status(b"OK", "HIGHESTMODSEQ", b"7", "")),
        (b"* OK [BADCHARSET ({5}", Status(b"OK", "", b"", "[BADCHARSET ({5}")),
        (b"* OK", Status(b"OK", "", b"", "")),
        (b"* OK a\x00\x1b[1m\xff", Status(b"OK", "", b"", "a  [1m�")),
    ],
)
def test_statuses(line: bytes, status: Status) -> None:
    response = read_response(Frame((line,)))
    assert isinstance(response, Untagged)
    assert response.status() == status


@pytest.mark.parametrize(
    "line", [b"* OK " + b"[X " + b"(a)" * 50_000, b"* OK [" + b"(" * 100_000, b"* " + b" " * 100_000]
)
def test_time_stays_in_proportion(line: bytes) -> None:
    began = time.process_time()
    response = read_response(Frame((line,)))
    if isinstance(response, Untagged):
        assert response.status().text
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("line", "free"),
    [
        (b"* OK x", True),
        (b"* bye x", True),
        (b"A1 NO x", True),
        (b"+ x", True),
        (b"* 1 FETCH (", False),
        (b"* LIST ", False),
    ],
)
def test_where_literals_cannot_be(line: bytes, free: bool) -> None:
    assert is_free_text(line) is free
