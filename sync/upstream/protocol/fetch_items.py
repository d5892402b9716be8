"""Reads FETCH responses item by item (RFC 3501 7.4.2), in any order, with what servers get wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from mailcache.wire.dates import parse_date_time_lenient
from mailcache.wire.framing import LiteralSink
from mailcache.wire.number_set import MAX_NUMBER
from mailcache.wire.scanner import Scanner
from mailcache.wire.utf7 import decode_lenient
from sync.upstream.values import FetchedMessage

_ITEM = re.compile(rb"[A-Za-z0-9.\-]+")
_SECTION = re.compile(rb'\[((?:[^\]"\r\n]|"[^"\r\n]*")*)\](<\d{1,20}>)?')
_FLAGS = re.compile(rb"\(([^()\r\n]*)\)")
_LABEL = re.compile(rb"[^\x00-\x20()\"\x7f]+")
_IN_PARENTHESES = re.compile(rb"\( *([^() ]*) *\)|[^() ]+")
_LARGEST = 2**63 - 1

Fields = dict[str, Any]


def read_fetch(seq: int, scan: Scanner) -> FetchedMessage:
    """Read what stands after ``FETCH``; raises ``ValueError`` where it cannot be made out."""
    fields: Fields = {}
    sections: dict[bytes, bytes | LiteralSink | None] = {}
    skipped: set[bytes] = set()
    scan.skip_spaces()
    scan.expect(b"(")
    while True:
        scan.skip_spaces()
        if scan.skip(b")"):
            break
        name = scan.matching(_ITEM, "a data item").upper()
        if scan.peek() == b"[":
            section, value, too_large = _section(scan)
            sections[section] = value
            if too_large:
                skipped.add(section)
            continue
        scan.skip_spaces()
        reader = _READERS.get(name)
        if reader is None:
            scan.raw_value()
        else:
            field, read = reader
            fields[field] = read(scan)
    return FetchedMessage(seq, sections=sections, skipped=frozenset(skipped), **fields)


def _section(scan: Scanner) -> tuple[bytes, bytes | LiteralSink | None, bool]:
    found = _SECTION.fullmatch(scan.matching(_SECTION, "a section"))
    if found is None:
        scan.fail("a section")
    section = found[1].upper() + (found[2] or b"")
    scan.skip_spaces()
    if not scan.at_literal():
        return section, scan.nstring(), False
    literal = scan.literal()
    value = literal.data if literal.data is not None else literal.sink
    return section, value, value is None


@lru_cache(maxsize=4_096)
def flags_of(raw: bytes) -> tuple[str, ...]:
    """Return the flags between two parentheses as they came, junk and all (field note 37)."""
    return tuple(raw.decode("latin-1").split())


def _flags(scan: Scanner) -> tuple[str, ...] | None:
    if scan.skip_word(b"NIL"):
        return None
    return flags_of(scan.matching(_FLAGS, "flags")[1:-1])


def uid_of(number: int) -> int | None:
    """Return a UID, or None for what is none (quirk 41: UID 0)."""
    return number if 0 < number <= MAX_NUMBER else None


def number_of(number: int) -> int | None:
    """Return a number that can be stored, or None."""
    return number if number <= _LARGEST else None


def _number(scan: Scanner) -> int | None:
    raw = scan.raw_value().strip(b'"')
    return number_of(int(raw)) if raw.isdigit() and len(raw) <= 20 else None


def _uid(scan: Scanner) -> int | None:
    number = _number(scan)
    return None if number is None else uid_of(number)


def _date(scan: Scanner) -> object:
    raw = scan.nstring()
    return None if raw is None else parse_date_time_lenient(raw)


def _parenthesised(scan: Scanner) -> bytes | None:
    """Read ``(x)``, ``x`` or NIL."""
    raw = scan.raw_value()
    found = _IN_PARENTHESES.fullmatch(raw)
    if found is None or raw.upper() == b"NIL":
        return None
    return found[1] if found[1] is not None else raw


def _modseq(scan: Scanner) -> int | None:
    raw = _parenthesised(scan) or b""
    return number_of(int(raw)) if raw.isdigit() and len(raw) <= 20 else None


def _identifier(scan: Scanner) -> str | None:
    raw = _parenthesised(scan)
    return None if raw is None else raw.decode("latin-1")


def _labels(scan: Scanner) -> tuple[str, ...] | None:
    """Read X-GM-LABELS: mailbox names, and system labels with a backslash that may be bare or quoted."""
    if scan.skip_word(b"NIL"):
        return None
    labels = []
    scan.expect(b"(")
    scan.skip_spaces()
    while not scan.skip(b")"):
        quoted = scan.peek() == b'"' or scan.at_literal()
        raw = scan.string() if quoted else scan.matching(_LABEL, "a label")
        labels.append(decode_lenient(raw))
        scan.skip_spaces()
    return tuple(labels)


def _raw(scan: Scanner) -> bytes | None:
    raw = scan.raw_value()
    return None if raw.upper() == b"NIL" else raw


_READERS: dict[bytes, tuple[str, Callable[[Scanner], object]]] = {
    b"UID": ("uid", _uid),
    b"FLAGS": ("flags", _flags),
    b"INTERNALDATE": ("internal_date", _date),
    b"RFC822.SIZE": ("size", _number),
    b"MODSEQ": ("modseq", _modseq),
    b"EMAILID": ("email_id", _identifier),
    b"THREADID": ("thread_id", _identifier),
    b"X-GM-MSGID": ("email_id", _identifier),
    b"X-GM-THRID": ("thread_id", _identifier),
    b"X-GM-LABELS": ("labels", _labels),
    b"ENVELOPE": ("envelope_raw", _raw),
    b"BODYSTRUCTURE": ("bodystructure_raw", _raw),
}
