"""Strings as they go over the wire: atoms, quoted strings, literals (RFC 3501 4.3, 9). Pure."""

from __future__ import annotations

import re

_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_NEEDS_LITERAL = re.compile(rb"[\x00\r\n\x80-\xff]")
_NEEDS_LITERAL_UTF8 = re.compile(rb"[\x00\r\n]")
_TO_QUOTE = re.compile(rb'["\\]')


def is_atom(raw: bytes) -> bool:
    """True when ``raw`` can be sent without quotes (``astring`` may hold ``]``, which this does not allow)."""
    return _ATOM.fullmatch(raw) is not None


def render_string(value: bytes) -> bytes:
    """Return a quoted string, or a literal where RFC 3501 asks for one: 8-bit or a line end."""
    if _NEEDS_LITERAL.search(value):
        return _literal(value)
    return _quoted(value)


def render_nstring(value: bytes | None) -> bytes:
    """Return ``NIL`` for None, else ``render_string``."""
    return b"NIL" if value is None else render_string(value)


def render_string_utf8(value: bytes) -> bytes:
    """Return a string for a connection with UTF-8 enabled: valid UTF-8 stays quoted (RFC 6855 3)."""
    if _NEEDS_LITERAL_UTF8.search(value) or not _is_utf8(value):
        return _literal(value)
    return _quoted(value)


def render_nstring_utf8(value: bytes | None) -> bytes:
    """Return ``NIL`` for None, else ``render_string_utf8``."""
    return b"NIL" if value is None else render_string_utf8(value)


def render_astring(value: bytes) -> bytes:
    """Return an atom where possible, else a string. ``NIL`` is quoted, so that it is not read as none."""
    if is_atom(value) and value.upper() != b"NIL":
        return value
    return render_string(value)


def _quoted(value: bytes) -> bytes:
    if b'"' in value or b"\\" in value:
        value = _TO_QUOTE.sub(rb"\\\g<0>", value)
    return b'"' + value + b'"'


def _literal(value: bytes) -> bytes:
    return b"{%d}\r\n%b" % (len(value), value)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
