"""Reads the primitives of IMAP's grammar (RFC 3501 9) from one frame. Pure.

The productions of commands and responses are built from these; each failure says where it was.
"""

from __future__ import annotations

import re
from typing import NoReturn

from mailcache.wire.framing import Frame, Literal

_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_LIST_ATOM = re.compile(rb"[!#$%&'*+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
# What ends an atom; 8-bit bytes do not, because servers send them raw where they should not.
_TOLERANT_ATOM = re.compile(rb"[^\x00-\x20(){%*\"\\\x7f]+")
# Flags begin with a backslash, lists of them may hold an asterisk.
_RAW_ATOM = re.compile(rb"[^\x00-\x20(){\"\x7f]+")
_NUMBER = re.compile(rb"\d{1,20}")
_QUOTED = re.compile(rb'"([^"\\\r\n\x00]*(?:\\.[^"\\\r\n\x00]*)*)"', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_SPACES = re.compile(rb" *")


class WireError(ValueError):
    """Bytes that are not what the grammar asks for; the text is fit for a BAD response."""


class Scanner:
    """A cursor over the pieces of a frame. ``peek``/``skip`` methods never raise; the others raise ``WireError``."""

    __slots__ = ("_index", "_pieces", "_text", "position")

    def __init__(self, frame: Frame) -> None:
        self._pieces = frame.pieces
        self._index = 0
        self._text = self._piece_text()
        self.position = 0

    def _piece_text(self) -> bytes:
        piece = self._pieces[self._index]
        return piece if isinstance(piece, bytes) else b""

    @property
    def at_end(self) -> bool:
        """True when nothing is left of the frame."""
        return self._index == len(self._pieces) - 1 and self.position >= len(self._text)

    def fail(self, wanted: str) -> NoReturn:
        """Raise a ``WireError`` that names what was wanted here."""
        found = self._text[self.position : self.position + 20].decode("ascii", errors="replace")
        raise WireError(f"expected {wanted}, found {found!r}" if found else f"expected {wanted}")

    def peek(self) -> bytes:
        """Return the next byte of text, or nothing at the end of a piece."""
        return self._text[self.position : self.position + 1]

    def skip(self, text: bytes) -> bool:
        """Step over ``text`` if it comes next (as spelled); tells whether it did."""
        if not self._text.startswith(text, self.position):
            return False
        self.position += len(text)
        return True

    def skip_word(self, word: bytes) -> bool:
        """Step over a word in any case if it comes next and ends there; tells whether it did."""
        end = self.position + len(word)
        if self._text[self.position : end].upper() != word or _ATOM.match(self._text[end : end + 1]):
            return False
        self.position = end
        return True

    def skip_spaces(self) -> None:
        """Step over any number of spaces."""
        match = _SPACES.match(self._text, self.position)
        if match:
            self.position = match.end()

    def expect(self, text: bytes) -> None:
        """Step over ``text``, which must come next."""
        if not self.skip(text):
            self.fail(repr(text.decode("ascii")))

    def space(self) -> None:
        """Step over exactly one space."""
        if not self.skip(b" "):
            self.fail("a space")

    def end(self) -> None:
        """Make sure that nothing is left."""
        if not self.at_end:
            self.fail("the end of the line")

    def atom(self) -> bytes:
        """Read an ``astring`` without quotes (an atom that may hold ``]``)."""
        return self._match(_ATOM, "an atom")

    def tolerant_atom(self) -> bytes:
        """Read an atom that may hold 8-bit bytes."""
        return self._match(_TOLERANT_ATOM, "an atom")

    def list_atom(self) -> bytes:
        """Read an unquoted LIST pattern: an atom that may hold the wildcards ``%`` and ``*``."""
        return self._match(_LIST_ATOM, "a pattern")

    def number(self, *, maximum: int = 2**32 - 1) -> int:
        """Read a number of at most ``maximum``."""
        value = int(self._match(_NUMBER, "a number"))
        if value > maximum:
            raise WireError(f"number out of range: {value}")
        return value

    def quoted(self) -> bytes:
        """Read a quoted string and return what it says."""
        raw = self._match(_QUOTED, "a quoted string")[1:-1]
        return _ESCAPE.sub(rb"\1", raw) if b"\\" in raw else raw

    def at_literal(self) -> bool:
        """True when a literal comes next."""
        return self.position >= len(self._text) and self._index + 1 < len(self._pieces)

    def literal(self) -> Literal:
        """Step over a literal and return it."""
        piece = self._pieces[self._index + 1] if self.at_literal() else None
        if not isinstance(piece, Literal):
            self.fail("a literal")
        self._index += 2
        self._text = self._piece_text()
        self.position = 0
        return piece

    def string(self) -> bytes:
        """Read a quoted string or a collected literal."""
        if not self.at_literal():
            return self.quoted()
        literal = self.literal()
        if literal.data is None:
            raise WireError("a literal too large to be used here")
        return literal.data

    def nstring(self) -> bytes | None:
        """Read a string or ``NIL``."""
        return None if self.skip_word(b"NIL") else self.string()

    def astring(self) -> bytes:
        """Read an atom or a string."""
        if self.peek() == b'"' or self.at_literal():
            return self.string()
        return self.atom()

    def atom_of(self, allowed: bytes) -> bytes:
        """Read the longest run of ``allowed`` bytes, which may be empty."""
        start = end = self.position
        while end < len(self._text) and self._text[end] in allowed:
            end += 1
        self.position = end
        return self._text[start:end]

    def matching(self, pattern: re.Pattern[bytes], wanted: str) -> bytes:
        """Read what ``pattern`` matches here."""
        return self._match(pattern, wanted)

    def raw_value(self, *, max_depth: int = 100) -> bytes:
        """Step over one value (atom, string or parenthesised list) and return it as it came, literals and all."""
        raw: list[bytes] = []
        depth = 0
        while True:
            if self.at_literal():
                raw.append(_as_sent(self.literal()))
            elif self.skip(b"("):
                depth += 1
                raw.append(b"(")
                if depth > max_depth:
                    raise WireError("nested too deeply")
            elif depth and self.skip(b")"):
                depth -= 1
                raw.append(b")")
            elif depth and self.skip(b" "):
                raw.append(b" ")
            elif self.peek() == b'"':
                raw.append(self._match(_QUOTED, "a quoted string"))
            else:
                raw.append(self._match(_RAW_ATOM, "a value"))
            if not depth:
                return b"".join(raw)

    def rest(self) -> bytes:
        """Return the rest of this piece of text and step over it."""
        rest = self._text[self.position :]
        self.position = len(self._text)
        return rest

    def _match(self, pattern: re.Pattern[bytes], wanted: str) -> bytes:
        match = pattern.match(self._text, self.position)
        if match is None:
            self.fail(wanted)
        self.position = match.end()
        return match[0]


def _as_sent(literal: Literal) -> bytes:
    if literal.data is None:
        raise WireError("a literal too large to be used here")
    return b"{%d}\r\n%b" % (literal.size, literal.data)
