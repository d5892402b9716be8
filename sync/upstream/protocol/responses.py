"""Tells responses apart and reads status responses (RFC 3501 7.1). Tolerant where servers are known to stray."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailcache.wire.framing import Frame
from mailcache.wire.scanner import Scanner

_UNTAGGED = re.compile(rb"[\x00\s]*\* +(?:(\d{1,20}) +)?([A-Za-z][A-Za-z0-9\-.]*)")
_TAGGED = re.compile(rb"[\x00\s]*([A-Za-z]\d+) +([A-Za-z]+)")
_CONTINUATION = re.compile(rb"[\x00\s]*\+ ?")
_STATUS_TEXT = re.compile(rb" *(?:\[ *([^\s\]\[()]+) *((?:\([^)]*\)|[^\](])*)\])? *(.*)\Z", re.DOTALL)
# Their text is free: a line of theirs that ends in ``{3}`` has no literal.
_FREE_TEXT = re.compile(rb"[\x00\s]*(?:\+|\* +(?:OK|NO|BAD|BYE|PREAUTH)\b|(?![*\x00])[^\s]+ )", re.IGNORECASE)
STATUSES = frozenset({b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"})


@dataclass(frozen=True, slots=True)
class Status:
    """A status response: its condition, the response code with its arguments, the text."""

    condition: bytes
    code: str
    arguments: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Untagged:
    """An untagged response: the number in front, its name in upper case, and the rest, unread."""

    number: int | None
    name: bytes
    frame: Frame
    offset: int

    def scanner(self) -> Scanner:
        """Return a scanner after the name."""
        scanner = Scanner(self.frame)
        scanner.position = self.offset
        return scanner

    def status(self) -> Status:
        """Read it as a status response."""
        return _status(self.name, first_text(self.frame), self.offset)


@dataclass(frozen=True, slots=True)
class Tagged:
    """The end of a command."""

    tag: bytes
    status: Status


@dataclass(frozen=True, slots=True)
class Continuation:
    """``+``: the upstream waits for more."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Stray:
    """A line that is no response at all."""

    text: bytes


Response = Untagged | Tagged | Continuation | Stray


def first_text(frame: Frame) -> bytes:
    """Return the text before the first literal."""
    first = frame.pieces[0]
    return first if isinstance(first, bytes) else b""


def is_free_text(beginning: bytes) -> bool:
    """True for a response that cannot hold literals."""
    return _FREE_TEXT.match(beginning) is not None


def read_response(frame: Frame) -> Response:
    """Tell what a frame is; never raises."""
    text = first_text(frame)
    match = _UNTAGGED.match(text)
    if match:
        return Untagged(int(match[1]) if match[1] else None, match[2].upper(), frame, match.end())
    match = _TAGGED.match(text)
    if match and match[2].upper() in STATUSES:
        return Tagged(match[1], _status(match[2].upper(), text, match.end()))
    match = _CONTINUATION.match(text)
    return Continuation(text[match.end() :]) if match else Stray(text[:200])


def _status(condition: bytes, text: bytes, offset: int) -> Status:
    match = _STATUS_TEXT.match(text, offset)
    if match is None:
        return Status(condition, "", b"", readable(text[offset:]))
    code = (match[1] or b"").decode("ascii", errors="replace").upper()
    return Status(condition, code, match[2] or b"", readable(match[3]))


def readable(raw: bytes) -> str:
    """Return text of the upstream fit for logs and tables: bounded, no control characters."""
    text = raw[:500].decode("utf-8", errors="replace")
    return "".join(character if character.isprintable() else " " for character in text).strip()
