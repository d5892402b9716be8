"""Encoded words (RFC 2047), and text of unknown charset."""

from __future__ import annotations

import binascii
import codecs
import re

_ENCODED_WORD = re.compile(rb"=\?([^?*\s]{1,60})(?:\*[^?\s]*)?\?([bBqQ])\?([^?]*)\?=")
_BETWEEN = re.compile(rb"(\?=)[ \t\r\n]+(?==\?[^?\s]{1,60}\?[bBqQ]\?)")
_ALIASES = {
    "unknown-8bit": "utf-8",
    "x-unknown": "utf-8",
    "cp-850": "cp850",
    "ks_c_5601-1987": "cp949",
    "iso-8859-8-i": "iso-8859-8",
}
_REPLACEMENTS = dict.fromkeys((0, *range(0xD800, 0xE000)), "\ufffd")


def decode_words(value: bytes) -> str:
    """Return a header value as text: encoded words decoded, the rest as UTF-8 or else Latin-1. Never raises."""
    if b"=?" not in value:
        return decode_bytes(value, "utf-8")
    # White space between two encoded words is not part of the text.
    value = _BETWEEN.sub(rb"\1", value)
    pieces: list[str] = []
    position = 0
    # Neighbours of one charset are decoded together: a character may be cut between them.
    pending, pending_charset = b"", ""
    for match in _ENCODED_WORD.finditer(value):
        charset = match[1].decode("ascii", errors="replace").lower()
        if pending_charset and (match.start() > position or charset != pending_charset):
            pieces.append(decode_bytes(pending, pending_charset))
            pending = b""
        if match.start() > position:
            pieces.append(decode_bytes(value[position : match.start()], "utf-8"))
        pending, pending_charset = pending + _decode_text(match[2], match[3]), charset
        position = match.end()
    if pending_charset:
        pieces.append(decode_bytes(pending, pending_charset))
    pieces.append(decode_bytes(value[position:], "utf-8"))
    return "".join(pieces)


def decode_bytes(raw: bytes, charset: str) -> str:
    """Decode text of a named charset; what that cannot be is read as UTF-8 or Latin-1. Never raises."""
    codec = known_charset(charset)
    for candidate in (codec, "utf-8"):
        try:
            return clean(raw.decode(candidate))
        except UnicodeError:
            continue
    # What calls itself ASCII or UTF-8 and is neither is mostly Latin-1.
    return clean(raw.decode("latin-1") if codec in ("utf-8", "ascii") else raw.decode(codec, "replace"))


def known_charset(name: str) -> str:
    """Return the codec for a charset's name, UTF-8 for an unknown one."""
    name = name.strip().strip("\"'").lower()
    name = _ALIASES.get(name, name)
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return "utf-8"
    # Codecs that are no charsets (zip, hex, rot13) and those with side effects are not asked.
    return found.name if getattr(found, "_is_text_encoding", False) and found.name not in _REFUSED else "utf-8"


_REFUSED = frozenset(
    {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "unicode_escape", "undefined", "mbcs"}
)


def clean(text: str) -> str:
    """Return text that PostgreSQL and clients can take: no NUL, no half of a surrogate pair."""
    return text.translate(_REPLACEMENTS) if "\0" in text or not _is_encodable(text) else text


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _decode_text(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"qQ":
        return decode_quoted_printable(text.replace(b"_", b" "))
    return decode_base64(text)


def decode_base64(text: bytes) -> bytes:
    """Decode base64 with anything foreign in it left out, up to where it makes no more sense."""
    try:
        return binascii.a2b_base64(text)
    except binascii.Error:
        kept = re.sub(rb"[^A-Za-z0-9+/]", b"", text)
        return binascii.a2b_base64(kept[: len(kept) // 4 * 4])


def decode_quoted_printable(text: bytes) -> bytes:
    """Decode quoted-printable; broken escapes stay as they are."""
    return binascii.a2b_qp(text)
