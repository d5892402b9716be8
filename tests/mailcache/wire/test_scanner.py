"""The primitives of the grammar."""

from __future__ import annotations

import pytest

from mailcache.wire.framing import Frame, Literal
from mailcache.wire.scanner import Scanner, WireError


def scanner(*pieces: bytes | Literal) -> Scanner:
    return Scanner(Frame(pieces))


def test_reads_a_line() -> None:
    scan = scanner(b'a1 17 "x \\"y\\" \\\\" ', Literal(2, b"zz"), b" NIL")

    assert scan.atom() == b"a1"
    scan.space()
    assert scan.number() == 17
    scan.space()
    assert scan.quoted() == b'x "y" \\'
    scan.space()
    assert scan.at_literal()
    assert scan.string() == b"zz"
    scan.space()
    assert scan.nstring() is None
    scan.end()


def test_a_word_ends_where_an_atom_ends() -> None:
    assert scanner(b"nil)").skip_word(b"NIL")
    assert not scanner(b"NILS").skip_word(b"NIL")
    assert not scanner(b"N").skip_word(b"NIL")


def test_tolerant_atoms_hold_8_bit_bytes() -> None:
    assert scanner("Entwürfe x".encode()).tolerant_atom() == "Entwürfe".encode()
    with pytest.raises(WireError):
        scanner("ü".encode()).atom()


@pytest.mark.parametrize(
    ("piece", "method"),
    [
        (b"", "atom"),
        (b"(", "atom"),
        (b"x", "number"),
        (b"4294967296", "number"),
        (b'"open', "quoted"),
        (b'"a\x00b"', "quoted"),
        (b"x", "literal"),
        (b"x", "space"),
        (b"x", "end"),
    ],
)
def test_errors_say_what_was_expected(piece: bytes, method: str) -> None:
    with pytest.raises(WireError, match=r"expected|out of range"):
        getattr(scanner(piece), method)()


def test_a_literal_without_bytes_is_no_string() -> None:
    with pytest.raises(WireError, match="too large"):
        scanner(b"", Literal(5), b"").string()


def test_a_quoted_string_takes_time_in_proportion() -> None:
    raw = b'"' + b"\\a" * 200_000
    with pytest.raises(WireError):
        scanner(raw).quoted()
    assert len(scanner(raw + b'"').quoted()) == 200_000


def test_a_value_is_stepped_over_as_it_came() -> None:
    scan = scanner(b'(a "b)" (NIL ', Literal(3, b"x)("), b") \\Seen) next")

    assert scan.raw_value() == b'(a "b)" (NIL {3}\r\nx)() \\Seen)'
    scan.space()
    assert scan.raw_value() == b"next"
    scan.end()


@pytest.mark.parametrize("piece", [b"", b")", b"(a", b"(" * 101, b'("x)'])
def test_what_is_no_whole_value_is_refused(piece: bytes) -> None:
    with pytest.raises(WireError):
        scanner(piece).raw_value()


def test_a_skipped_literal_has_no_value() -> None:
    with pytest.raises(WireError, match="too large"):
        scanner(b"(", Literal(9), b")").raw_value()
