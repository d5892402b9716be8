"""Content-Type, Content-Disposition and their parameters (RFC 2045 5.1, RFC 2183, RFC 2231)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from mailcache.mime.lexer import Lexer, LexerError

MAX_PARAMETERS = 200

_CONTINUED = re.compile(rb"(.+?)\*(\d{1,3})(\*?)\Z", re.DOTALL)
# An encoded word without quotes, as some senders write it: it goes on to the next separator.
_BARE_ENCODED_WORD = re.compile(rb"=[^;\s]*")

Parameters = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class ContentType:
    """A media type with its parameters, spelled as in the message."""

    type: bytes
    subtype: bytes
    parameters: Parameters = ()

    @property
    def full(self) -> bytes:
        """``type/subtype`` in lower case."""
        return self.type.lower() + b"/" + self.subtype.lower()

    @property
    def boundary(self) -> bytes | None:
        """The boundary of a multipart."""
        return self.get(b"boundary")

    def get(self, name: bytes) -> bytes | None:
        """Return a parameter's value by its lower-case name."""
        return next((value for key, value in self.parameters if key.lower() == name), None)


@dataclass(frozen=True, slots=True)
class Disposition:
    """A Content-Disposition."""

    type: bytes
    parameters: Parameters = ()


def parse_content_type(value: bytes | None) -> ContentType | None:
    """Read a Content-Type; None when there is none. A broken one has an empty type, and no parameters."""
    if value is None:
        return None
    lexer = Lexer(value)
    lexer.skip_blanks()
    type_ = lexer.mime_token()
    if lexer.skip(b"/"):
        lexer.skip_blanks()
        subtype = lexer.mime_token()
        if type_ and subtype and lexer.peek() in (b"", b";"):
            return ContentType(type_, subtype, _parameters(lexer))
        return ContentType(b"", b"")
    return ContentType(b"" if lexer.peek() else type_, b"")


def parse_disposition(value: bytes | None) -> Disposition | None:
    """Read a Content-Disposition; None when there is none."""
    if value is None:
        return None
    lexer = Lexer(value)
    lexer.skip_blanks()
    return Disposition(lexer.mime_token(), _parameters(lexer))


def parse_languages(value: bytes | None) -> tuple[bytes, ...]:
    """Read a Content-Language (RFC 3282)."""
    if value is None:
        return ()
    lexer = Lexer(value)
    lexer.skip_blanks()
    found: list[bytes] = []
    while not lexer.at_end and len(found) < MAX_PARAMETERS:
        tag = lexer.mime_token()
        if tag:
            found.append(tag)
        if not lexer.skip(b","):
            break
        lexer.skip_blanks()
    return tuple(found)


def decode_extended(value: bytes) -> tuple[str, bytes]:
    """Split an extended value (RFC 2231 4) into its charset and its decoded bytes."""
    charset, _, rest = value.partition(b"'")
    _, found, text = rest.partition(b"'")
    if not found:
        return "", unquote_to_bytes(value)
    return charset.decode("ascii", errors="replace"), unquote_to_bytes(text)


def _parameters(lexer: Lexer) -> Parameters:
    """Read ``; name=value`` until the end; what is none of these is stepped over to the next semicolon."""
    found: list[tuple[bytes, bytes]] = []
    while len(found) < MAX_PARAMETERS:
        semicolon = lexer.value.find(b";", lexer.position)
        if semicolon < 0:
            break
        lexer.position = semicolon + 1
        lexer.skip_blanks()
        name = lexer.mime_token()
        if lexer.skip(b"="):
            lexer.skip_blanks()
            value = _value(lexer)
            if value is not None:
                found.append((name, value))
    return _join_continuations(found)


def _value(lexer: Lexer) -> bytes | None:
    if lexer.peek() == b'"':
        try:
            return lexer.quoted_string()
        except LexerError:
            return None
    match = _BARE_ENCODED_WORD.match(lexer.value, lexer.position)
    if match is None:
        return lexer.mime_token() or None
    lexer.position = match.end()
    lexer.skip_blanks()
    return match[0]


def _join_continuations(found: list[tuple[bytes, bytes]]) -> Parameters:
    """Join ``name*0``, ``name*1`` … (RFC 2231 3); a joined value stays extended if a piece was."""
    if not any(b"*" in name for name, _ in found):
        return tuple(found)
    joined: list[tuple[bytes, bytes]] = []
    pieces: dict[bytes, dict[int, tuple[bytes, bytes, bool]]] = {}
    for name, value in found:
        match = _CONTINUED.match(name)
        if match is None:
            joined.append((name, value))
        else:
            pieces.setdefault(match[1], {})[int(match[2])] = (name, value, bool(match[3]))
    for name, numbered in pieces.items():
        joined += _join(name, numbered)
    return tuple(joined)


def _join(name: bytes, numbered: dict[int, tuple[bytes, bytes, bool]]) -> list[tuple[bytes, bytes]]:
    text, extended, number = b"", False, 0
    while number in numbered:
        _, piece, piece_extended = numbered.pop(number)
        text += piece
        extended |= piece_extended
        number += 1
    joined = [(name + b"*" if extended else name, text)] if number else []
    # Pieces whose beginning is missing are shown as they came.
    return joined + [(raw, piece) for raw, piece, _ in (numbered[key] for key in sorted(numbered))]
