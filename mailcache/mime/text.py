"""What a message says, as plain text: for the index and for the preview in a list of messages."""

from __future__ import annotations

import html
import re

from mailcache.mime.encoded_words import clean, decode_base64, decode_bytes, decode_quoted_printable, decode_words
from mailcache.mime.headers import Buffer
from mailcache.mime.parameters import decode_extended
from mailcache.mime.scan import Part

MAX_TEXT = 900_000
PREVIEW_LENGTH = 200
# More of one part is not looked at: nobody searches for the end of a ten-megabyte log.
_MAX_PART_BYTES = 2_000_000

_SPACES = re.compile(r"\s+")
_QUOTED_LINE = re.compile(r"^\s*>.*$", re.MULTILINE)
# Linear in the length whatever the input; parsers that build a tree take minutes for a few KB of nested tags.
_UNSEEN_NAMES = ("script", "style", "head", "title", "template", "noscript")
_UNSEEN = re.compile(rf"<({'|'.join(_UNSEEN_NAMES)})\b[^<>]*>", re.IGNORECASE)
_UNSEEN_END = {name: re.compile(rf"</{name}\b", re.IGNORECASE) for name in _UNSEEN_NAMES}
_BREAK = re.compile(
    r"</?(?:address|article|blockquote|body|br|dd|div|dl|dt|fieldset|form|h[1-6]|hr|li|ol|p|pre|section|table|td|th|tr|ul)"
    r"\b[^<>]*>",
    re.IGNORECASE,
)
_TAG = re.compile(r"</?[a-z!?][^<>]*>", re.IGNORECASE)


def extract_text(data: Buffer, root: Part) -> str:
    """Return the text of all parts with the names of attachments."""
    pieces: list[str] = []
    room = MAX_TEXT
    for part in _walk(root):
        text = _part_text(data, part) if room > 0 else ""
        name = file_name(part)
        for piece in (text, name or ""):
            if piece and room > 0:
                pieces.append(piece[:room])
                room -= len(piece) + 1
    return "\n".join(pieces)[:MAX_TEXT]


def find_preview(data: Buffer, root: Part) -> str:
    """Return the beginning of the first part that can be read. The others are not looked at: HTML takes its time."""
    previews = (make_preview(_part_text(data, part)) for part in _walk(root))
    return next(filter(None, previews), "")


def has_attachment(root: Part) -> bool:
    """True when a part is an attachment by its disposition, or has a file name and is neither text nor in-line."""
    return any(_is_attachment(part) for part in _walk(root))


def file_name(part: Part) -> str | None:
    """Return the decoded file name of a part (RFC 2231, RFC 2047, or raw), or None."""
    candidates = dict(part.disposition.parameters if part.disposition else ())
    if part.content_type is not None:
        for name, value in part.content_type.parameters:
            candidates.setdefault({b"name": b"filename", b"name*": b"filename*"}.get(name.lower(), name), value)
    by_name = {name.lower(): value for name, value in candidates.items()}
    if b"filename*" in by_name:
        charset, raw = decode_extended(by_name[b"filename*"])
        return decode_bytes(raw, charset)
    return decode_words(by_name[b"filename"]) if b"filename" in by_name else None


def make_preview(text: str) -> str:
    """Return the beginning of a text on one line, without what it quotes."""
    start = text[: PREVIEW_LENGTH * 20]
    return _SPACES.sub(" ", _QUOTED_LINE.sub("", start) or start).strip()[:PREVIEW_LENGTH]


def _walk(part: Part) -> list[Part]:
    found: list[Part] = []
    waiting = [part]
    while waiting:
        current = waiting.pop()
        found.append(current)
        waiting.extend(reversed(current.children))
    return found


def _is_attachment(part: Part) -> bool:
    if part.is_multipart:
        return False
    if part.disposition is not None:
        return part.disposition.type.lower() == b"attachment"
    is_text = part.content_type is None or part.content_type.type.lower() == b"text"
    return not is_text and not part.is_message and file_name(part) is not None


def _part_text(data: Buffer, part: Part) -> str:
    content_type = part.content_type
    full = content_type.full if content_type else b"text/plain"
    if part.is_multipart or part.is_message or not full.startswith(b"text/") or _is_attachment(part):
        return ""
    raw = data[part.body_start : min(part.body_end, part.body_start + _MAX_PART_BYTES)]
    charset = (content_type.get(b"charset") if content_type else None) or b"utf-8"
    encoding = part.values.get(b"content-transfer-encoding", b"").strip().lower()
    text = decode_bytes(_decode(raw, encoding), charset.decode("ascii", errors="replace"))
    return _html_text(text) if full == b"text/html" else text.replace("\r\n", "\n")


def _decode(raw: bytes, encoding: bytes) -> bytes:
    if encoding.startswith(b"base64"):
        return decode_base64(raw)
    return decode_quoted_printable(raw) if encoding.startswith(b"quoted-printable") else raw


def _html_text(markup: str) -> str:
    """Return what a reader sees of HTML: blocks on lines of their own, words joined across inline tags."""
    seen = _without(_comments_removed(markup))
    lines = html.unescape(_TAG.sub("", _BREAK.sub("\n", seen))).splitlines()
    return clean("\n".join(stripped for line in lines if (stripped := line.strip())))


def _comments_removed(markup: str) -> str:
    pieces = markup.split("<!--")
    return pieces[0] + "".join(piece.partition("-->")[2] for piece in pieces[1:])


def _without(markup: str) -> str:
    """Return HTML without the elements whose content nobody sees; one that never ends hides nothing."""
    kept: list[str] = []
    position = 0
    endless: set[str] = set()
    for match in _UNSEEN.finditer(markup):
        name = match[1].lower()
        if match.start() < position or name in endless:
            continue
        end = _UNSEEN_END[name].search(markup, match.end())
        if end is None:
            endless.add(name)
            continue
        kept.append(markup[position : match.start()])
        position = end.start()
    return "".join((*kept, markup[position:]))
