"""Address lists of header fields (RFC 5322 3.4).

Broken lists are read exactly as Dovecot reads them, down to where it gives up: a client that moves from a Dovecot to
its mirror must find every ENVELOPE unchanged.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from mailcache.mime.lexer import Lexer, LexerError

MAX_ADDRESSES = 1000
_SHORT = 256

_MISSING_MAILBOX = b"MISSING_MAILBOX"
_MISSING_DOMAIN = b"MISSING_DOMAIN"
_SYNTAX_ERROR = b"SYNTAX_ERROR"


class Address(NamedTuple):
    """One address of an ENVELOPE. A group begins with a ``mailbox`` without ``host`` and ends with neither."""

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None


GROUP_END = Address(None, None, None, None)


def parse_addresses(value: bytes) -> tuple[Address, ...]:
    """Return the addresses of a (folded) field value. Never raises; what cannot be read has its parts missing."""
    return _parse_again(value) if len(value) <= _SHORT else _parse(value)


def _parse(value: bytes) -> tuple[Address, ...]:
    reader = _Reader(value)
    reader.address_list()
    return tuple(reader.found)


# Each list is read for ENVELOPE and for sorting, and the same people write again and again.
_parse_again = lru_cache(maxsize=2_048)(_parse)


class _Reader:
    def __init__(self, value: bytes) -> None:
        self.lexer = Lexer(value)
        self.found: list[Address] = []

    def address_list(self) -> None:
        """Read addresses until the end, or until something stands where a comma should."""
        lexer = self.lexer
        lexer.skip_blanks()
        while not lexer.at_end and len(self.found) < MAX_ADDRESSES:
            if not self.group():
                self.mailbox()
            if not lexer.skip(b","):
                return
            lexer.skip_blanks()

    def group(self) -> bool:
        """Read ``name: members;``; False, with nothing read, when it is none."""
        lexer = self.lexer
        start = lexer.position
        try:
            name = lexer.phrase()
        except LexerError:
            name = None
        if name is None or not lexer.skip(b":"):
            lexer.position = start
            return False
        lexer.skip_blanks()
        self.found.append(Address(None, None, name, None))
        if lexer.peek() not in (b"", b";"):
            self.mailbox()
            while lexer.skip(b",") and len(self.found) < MAX_ADDRESSES:
                lexer.skip_blanks()
                if lexer.at_end:
                    break
                self.mailbox()
        if lexer.skip(b";"):
            lexer.skip_blanks()
        self.found.append(GROUP_END)
        return True

    def mailbox(self) -> None:
        """Read ``name <address>`` or ``address (name)``."""
        start = self.lexer.position
        address = self.name_and_angle()
        if address is None:
            self.lexer.position = start
            address = self.bare()
        name, route, mailbox, host = address
        self.found.append(Address(name or None, route, mailbox or _MISSING_MAILBOX, host or _MISSING_DOMAIN))

    def name_and_angle(self) -> Address | None:
        try:
            name = self.lexer.phrase() if self.lexer.peek() != b"<" else b""
        except LexerError:
            return None
        return self.angle(name) if self.lexer.skip(b"<") else None

    def angle(self, name: bytes) -> Address:
        lexer = self.lexer
        route: bytes | None = None
        mailbox: bytes | None = None
        host: bytes | None = None
        try:
            lexer.skip_blanks()
            if lexer.peek() == b"@":
                route = lexer.route()
            if lexer.peek() != b">":
                mailbox = lexer.local_part()
                if lexer.peek() == b"@":
                    host = lexer.domain()
            lexer.expect(b">")
            lexer.skip_blanks()
        except LexerError:
            host = _SYNTAX_ERROR
        return Address(name, route, mailbox, host)

    def bare(self) -> Address:
        lexer = self.lexer
        lexer.comment = b""
        mailbox: bytes | None = None
        host: bytes | None = None
        has_host = False
        try:
            mailbox = lexer.local_part()
            if lexer.peek() == b"@":
                has_host = True
                host = lexer.domain()
        except LexerError:
            pass
        if lexer.comment:
            return Address(lexer.comment, None, mailbox, host)
        if has_host:
            return Address(None, None, mailbox, host)
        # A word alone is a mailbox; followed by others it is a name without an address.
        more = self.more_words()
        if more:
            return Address(b" ".join((mailbox or b"", more)), None, None, None)
        return Address(None, None, mailbox, None)

    def more_words(self) -> bytes:
        try:
            return self.lexer.phrase()
        except LexerError as error:
            return error.read
