"""Tokens of structured header fields (RFC 5322 3.2, RFC 2045 5.1)."""

from __future__ import annotations

import re

_SPECIALS = rb'\x00-\x20\x7f()<>\[\]:;@\\,."'
_ATOM = re.compile(rb"[^" + _SPECIALS + rb"]+")
_ATOM_OR_DOT = re.compile(rb"(?:[^" + _SPECIALS + rb"]|\.)+")
_MIME_TOKEN = re.compile(rb"(?:[^" + _SPECIALS + rb"/?=]|\.)+")
_BLANKS = re.compile(rb"[ \t\r\n]+")
_BLANK_OR_COMMENT = b" \t\r\n("
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


class LexerError(Exception):
    """The field is not what its grammar asks for here; ``read`` is what was read of the token before that."""

    def __init__(self, read: bytes = b"") -> None:
        super().__init__("unexpected character in a header field")
        self.read = read


class Lexer:
    """A cursor over a field value. Every token also steps over the white space and comments behind it."""

    __slots__ = ("comment", "position", "value")

    def __init__(self, value: bytes) -> None:
        self.value = value
        self.position = 0
        self.comment = b""
        """The last comment that was stepped over."""

    @property
    def at_end(self) -> bool:
        """True when nothing is left."""
        return self.position >= len(self.value)

    def peek(self) -> bytes:
        """Return the next byte, or nothing at the end."""
        return self.value[self.position : self.position + 1]

    def skip(self, text: bytes) -> bool:
        """Step over ``text`` if it comes next; tells whether it did."""
        if not self.value.startswith(text, self.position):
            return False
        self.position += len(text)
        return True

    def expect(self, text: bytes) -> None:
        """Step over ``text``, which must come next."""
        if not self.skip(text):
            raise LexerError

    def skip_blanks(self) -> None:
        """Step over white space and comments."""
        # Mostly there are none.
        while self.peek() in _BLANK_OR_COMMENT:
            match = _BLANKS.match(self.value, self.position)
            if match is not None:
                self.position = match.end()
            elif self.at_end:
                return
            else:
                self._skip_comment()

    def phrase(self) -> bytes:
        """Read words; one space stands between them."""
        if self.peek() == b".":
            raise LexerError
        words: list[bytes] = []
        while True:
            byte = self.peek()
            try:
                words.append(self.quoted_string() if byte == b'"' else self._token(_ATOM_OR_DOT))
            except LexerError:
                raise LexerError(b" ".join(words)) from None
            byte = self.peek()
            if byte not in (b'"', b".") and not _ATOM.match(self.value, self.position):
                return b" ".join(words)

    def local_part(self) -> bytes:
        """Read what stands before the ``@`` of an address."""
        return self.quoted_string() if self.peek() == b'"' else self.dot_atom()

    def domain(self) -> bytes:
        """Read ``@domain`` and return the domain."""
        self.expect(b"@")
        self.skip_blanks()
        return self._domain_literal() if self.peek() == b"[" else self.dot_atom()

    def route(self) -> bytes:
        """Read a source route, ``@a,@b:``, and return it without the colon."""
        domains: list[bytes] = []
        while True:
            domains.append(b"@" + self.domain())
            if self.skip(b":"):
                self.skip_blanks()
                return b",".join(domains)
            self.expect(b",")
            self.skip_blanks()

    def dot_atom(self) -> bytes:
        """Read atoms with dots between them; blanks around the dots go."""
        atoms = [self._token(_ATOM)]
        while self.skip(b"."):
            self.skip_blanks()
            match = _ATOM.match(self.value, self.position)
            if match is None:
                if self.at_end or self.peek() != b".":
                    atoms.append(b"")
                    break
                atoms.append(b"")
                continue
            atoms.append(self._token(_ATOM))
        return b".".join(atoms)

    def mime_token(self) -> bytes:
        """Read a token of RFC 2045; it may be empty."""
        return self._token(_MIME_TOKEN) if _MIME_TOKEN.match(self.value, self.position) else b""

    def quoted_string(self) -> bytes:
        """Read a quoted string and return what it says; line ends in it go."""
        position, length = self.position + 1, len(self.value)
        while position < length and self.value[position] != 0x22:
            position += 2 if self.value[position] == 0x5C else 1
        if position >= length:
            self.position = length
            raise LexerError
        raw = self.value[self.position + 1 : position].replace(b"\r", b"").replace(b"\n", b"")
        self.position = position + 1
        self.skip_blanks()
        return _ESCAPE.sub(rb"\1", raw) if b"\\" in raw else raw

    def _token(self, pattern: re.Pattern[bytes]) -> bytes:
        match = pattern.match(self.value, self.position)
        if match is None:
            raise LexerError
        self.position = match.end()
        self.skip_blanks()
        return match[0]

    def _domain_literal(self) -> bytes:
        end = self.value.find(b"]", self.position)
        if end < 0:
            raise LexerError
        literal, self.position = self.value[self.position : end + 1], end + 1
        self.skip_blanks()
        return literal

    def _skip_comment(self) -> None:
        depth, position, length = 0, self.position, len(self.value)
        while position < length:
            byte = self.value[position]
            position += 2 if byte == 0x5C else 1
            depth += (byte == 0x28) - (byte == 0x29)
            if depth == 0:
                break
        position = min(position, length)
        text = self.value[self.position + 1 : position - (depth == 0)].replace(b"\r", b"").replace(b"\n", b"")
        self.comment = _ESCAPE.sub(rb"\1", text) if b"\\" in text else text
        self.position = position
