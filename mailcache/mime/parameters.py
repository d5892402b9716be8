"""Content-Type, Content-Disposition and their parameters (RFC 2045 5.1, RFC 2183, RFC 2231)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

MAX_PARAMETERS = 200

_TOKEN = re.compile(rb"[^\x00-\x20\x7f()<>@,;:\\\"/\[\]?=]+")
_ATTRIBUTE = re.compile(rb"[^\x00-\x20\x7f()<>@,;:\\\"/\[\]?=]+")
# Unquoted values with characters that a token may not hold are common: they are taken to the next separator.
_LOOSE_VALUE = re.compile(rb"[^\x00-\x20;\"()]+")
_CONTINUED = re.compile(rb"(.+?)\*(\d{1,3})(\*?)\Z", re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)

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
    """Read a Content-Type; None when there is none that makes sense (the default type applies then)."""
    if value is None:
        return None
    cursor = _Cursor(value)
    type_ = cursor.token()
    cursor.skip_blanks()
    if not type_ or not cursor.skip(b"/"):
        return None
    cursor.skip_blanks()
    subtype = cursor.token()
    if not subtype:
        return None
    return ContentType(type_, subtype, cursor.parameters())


def parse_disposition(value: bytes | None) -> Disposition | None:
    """Read a Content-Disposition; None when there is none."""
    if value is None:
        return None
    cursor = _Cursor(value)
    type_ = cursor.token()
    return Disposition(type_, cursor.parameters()) if type_ else None


def parse_languages(value: bytes | None) -> tuple[bytes, ...]:
    """Read a Content-Language (RFC 3282)."""
    if value is None:
        return ()
    cursor = _Cursor(value)
    found: list[bytes] = []
    while len(found) < MAX_PARAMETERS:
        cursor.skip_blanks()
        tag = cursor.token()
        if not tag:
            break
        found.append(tag)
        cursor.skip_blanks()
        if not cursor.skip(b","):
            break
    return tuple(found)


def decode_extended(value: bytes) -> tuple[str, bytes]:
    """Split an extended value (RFC 2231 4) into its charset and its decoded bytes."""
    charset, _, rest = value.partition(b"'")
    _, found, text = rest.partition(b"'")
    if not found:
        return "", unquote_to_bytes(value)
    return charset.decode("ascii", errors="replace"), unquote_to_bytes(text)


class _Cursor:
    def __init__(self, value: bytes) -> None:
        self.value = value
        self.position = 0
        self.skip_blanks()

    def skip(self, text: bytes) -> bool:
        if not self.value.startswith(text, self.position):
            return False
        self.position += len(text)
        return True

    def skip_blanks(self) -> None:
        """Step over white space, line ends and comments."""
        value, length = self.value, len(self.value)
        while self.position < length:
            if value[self.position] in b" \t\r\n":
                self.position += 1
            elif value[self.position] == 0x28:
                self.position = _after_comment(value, self.position)
            else:
                return

    def token(self) -> bytes:
        match = _TOKEN.match(self.value, self.position)
        if match is None:
            return b""
        self.position = match.end()
        return match[0]

    def parameters(self) -> Parameters:
        found: list[tuple[bytes, bytes]] = []
        while len(found) < MAX_PARAMETERS:
            semicolon = self._next_semicolon()
            if semicolon < 0:
                break
            self.position = semicolon + 1
            self.skip_blanks()
            parameter = self._parameter()
            if parameter is not None:
                found.append(parameter)
        return _join_continuations(found)

    def _next_semicolon(self) -> int:
        self.skip_blanks()
        return self.value.find(b";", self.position)

    def _parameter(self) -> tuple[bytes, bytes] | None:
        match = _ATTRIBUTE.match(self.value, self.position)
        if match is None:
            return None
        self.position = match.end()
        self.skip_blanks()
        if not self.skip(b"="):
            return None
        self.skip_blanks()
        return match[0], self._value()

    def _value(self) -> bytes:
        if self.value.startswith(b'"', self.position):
            return self._quoted()
        match = _LOOSE_VALUE.match(self.value, self.position)
        if match is None:
            return b""
        self.position = match.end()
        return match[0]

    def _quoted(self) -> bytes:
        position = self.position + 1
        while True:
            quote = self.value.find(b'"', position)
            if quote < 0:
                raw, self.position = self.value[self.position + 1 :], len(self.value)
                break
            backslashes = 0
            while self.value[quote - 1 - backslashes] == 0x5C and quote - 1 - backslashes > self.position:
                backslashes += 1
            if backslashes % 2 == 0:
                raw, self.position = self.value[self.position + 1 : quote], quote + 1
                break
            position = quote + 1
        raw = raw.replace(b"\r\n", b"").replace(b"\n", b"")
        return _ESCAPE.sub(rb"\1", raw) if b"\\" in raw else raw


def _after_comment(value: bytes, position: int) -> int:
    depth = 0
    length = len(value)
    while position < length:
        byte = value[position]
        if byte == 0x28:
            depth += 1
        elif byte == 0x29:
            depth -= 1
        elif byte == 0x5C:
            position += 1
        position += 1
        if depth == 0:
            return position
    return length


def _join_continuations(found: list[tuple[bytes, bytes]]) -> Parameters:
    """Join ``name*0``, ``name*1`` … (RFC 2231 3); a joined value stays extended if a piece was."""
    if not any(b"*" in name for name, _ in found):
        return tuple(found)
    joined: list[tuple[bytes, bytes]] = []
    pieces: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    for name, value in found:
        match = _CONTINUED.match(name)
        if match is None:
            joined.append((name, value))
        else:
            pieces.setdefault(match[1], {})[int(match[2])] = (value, bool(match[3]))
    for name, numbered in pieces.items():
        text, extended, number = b"", False, 0
        while number in numbered:
            piece, piece_extended = numbered[number]
            text += piece
            extended |= piece_extended
            number += 1
        if number:
            joined.append((name + b"*" if extended else name, text))
    return tuple(joined)
