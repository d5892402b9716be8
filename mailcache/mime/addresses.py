"""Address lists of header fields (RFC 5322 3.4), read as Dovecot reads them."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_ADDRESSES = 2000

_MISSING_MAILBOX = b"MISSING_MAILBOX"
_MISSING_DOMAIN = b"MISSING_DOMAIN"
# Anything that has no meaning in an address list; 8-bit bytes pass, as senders use them raw.
_WORD = re.compile(rb"[^\x00-\x20()<>,:;@\"\\.\[\]\x7f]+")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


class Address(NamedTuple):
    """One address of an ENVELOPE. A group begins with a ``mailbox`` without ``host`` and ends with neither."""

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None


GROUP_END = Address(None, None, None, None)


def parse_addresses(value: bytes) -> tuple[Address, ...]:
    """Return the addresses of a (folded) field value. Never raises; what cannot be read has its parts missing."""
    return tuple(_Reader(value).addresses())


class _Reader:
    def __init__(self, value: bytes) -> None:
        self.value = value
        self.length = len(value)
        self.position = 0
        self.comment: bytes | None = None

    def addresses(self) -> list[Address]:
        found: list[Address] = []
        in_group = False
        self.blanks()
        while self.position < self.length and len(found) < MAX_ADDRESSES:
            byte = self.peek()
            if byte == b",":
                self.position += 1
            elif byte == b";":
                self.position += 1
                if in_group:
                    found.append(GROUP_END)
                    in_group = False
            else:
                address = self.address(in_group=in_group)
                found.append(address)
                in_group = in_group or (address.host is None and address.mailbox is not None)
            self.blanks()
        if in_group:
            found.append(GROUP_END)
        return found

    def address(self, *, in_group: bool) -> Address:
        self.comment = None
        phrase = self.phrase()
        byte = self.peek()
        if byte == b"<":
            return self.angle(phrase)
        if byte == b":" and not in_group:
            self.position += 1
            return Address(None, None, phrase or b"", None)
        local = phrase
        host = b""
        if byte == b"@":
            self.position += 1
            host = self.domain()
            self.phrase_rest()
        elif byte not in (b"", b",", b";"):
            # Nothing that an address may hold: step over it, so that the loop ends.
            self.position += 1
            self.phrase_rest()
        return _complete(self.comment, None, local, host)

    def angle(self, phrase: bytes) -> Address:
        self.position += 1
        self.blanks()
        route: bytes | None = None
        if self.peek() == b"@":
            route = self.route()
        local = self.local_part()
        host = b""
        if self.peek() == b"@":
            self.position += 1
            host = self.domain()
        close = self.value.find(b">", self.position)
        comma = self.value.find(b",", self.position)
        if close >= 0 and (comma < 0 or close < comma or close == self.position):
            self.position = close + 1
        else:
            self.position = comma if comma >= 0 else self.length
        self.blanks()
        self.phrase_rest()
        return _complete(phrase or None, route, local, host)

    def phrase(self) -> bytes:
        """Read words up to whatever ends a phrase; runs of white space become one space, dots stay where they were."""
        words: list[bytes] = []
        space = False
        while self.position < self.length:
            before = self.position
            self.blanks()
            space = space or self.position > before
            word = self.word()
            if word is None:
                break
            if words and space:
                words.append(b" ")
            words.append(word)
            space = False
        return b"".join(words)

    def phrase_rest(self) -> None:
        """Step over what stands between an address and the next separator."""
        while self.position < self.length and self.peek() not in (b",", b";"):
            before = self.position
            self.blanks()
            if self.word() is None and self.position == before:
                self.position += 1

    def local_part(self) -> bytes:
        return self.phrase()

    def word(self) -> bytes | None:
        byte = self.peek()
        if byte == b'"':
            return self.quoted()
        if byte == b".":
            self.position += 1
            return b"."
        match = _WORD.match(self.value, self.position)
        if match is None:
            return None
        self.position = match.end()
        return match[0]

    def quoted(self) -> bytes:
        position = self.position + 1
        while position < self.length and self.value[position] != 0x22:
            position += 2 if self.value[position] == 0x5C else 1
        raw = self.value[self.position + 1 : position]
        self.position = min(position + 1, self.length)
        raw = raw.replace(b"\r\n", b"").replace(b"\n", b"")
        return _ESCAPE.sub(rb"\1", raw) if b"\\" in raw else raw

    def domain(self) -> bytes:
        self.blanks()
        if self.peek() == b"[":
            close = self.value.find(b"]", self.position)
            end = self.length if close < 0 else close + 1
            literal, self.position = self.value[self.position : end], end
            self.blanks()
            return literal
        words: list[bytes] = []
        while (word := self.word()) is not None:
            words.append(word)
            before = self.position
            self.blanks()
            if self.position > before and self.peek() != b"." and words[-1] != b".":
                break
        return b"".join(words)

    def route(self) -> bytes | None:
        colon = self.value.find(b":", self.position)
        close = self.value.find(b">", self.position)
        if colon < 0 or (0 <= close < colon):
            return None
        route = b"".join(self.value[self.position : colon].split())
        self.position = colon + 1
        self.blanks()
        return route

    def peek(self) -> bytes:
        return self.value[self.position : self.position + 1]

    def blanks(self) -> None:
        """Step over white space and comments; the last comment may be the name of the address."""
        while self.position < self.length:
            byte = self.value[self.position]
            if byte in b" \t\r\n":
                self.position += 1
            elif byte == 0x28:
                self.read_comment()
            else:
                return

    def read_comment(self) -> None:
        depth, start = 0, self.position
        while self.position < self.length:
            byte = self.value[self.position]
            self.position += 2 if byte == 0x5C else 1
            depth += (byte == 0x28) - (byte == 0x29)
            if depth == 0:
                break
        self.position = min(self.position, self.length)
        text = self.value[start + 1 : self.position - 1 if depth == 0 else self.position]
        text = text.replace(b"\r\n", b"").replace(b"\n", b"")
        self.comment = _ESCAPE.sub(rb"\1", text) if b"\\" in text else text


def _complete(name: bytes | None, route: bytes | None, local: bytes, host: bytes) -> Address:
    return Address(name or None, route or None, local or _MISSING_MAILBOX, host or _MISSING_DOMAIN)
