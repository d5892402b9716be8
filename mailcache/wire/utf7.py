"""Mailbox names in modified UTF-7 (RFC 3501 5.1.3). Pure."""

from __future__ import annotations

import binascii
import re

_TO_ENCODE = re.compile(r"[^\x20-\x7e]+|&")
_ENCODED = re.compile(rb"&([^-]*)-")


def encode(name: str) -> bytes:
    """Return the wire spelling of a mailbox name."""
    return _TO_ENCODE.sub(_encode_match, name).encode("ascii")


def decode(raw: bytes) -> str:
    """Return the name that ``raw`` spells; raises ``ValueError`` unless it is valid modified UTF-7."""
    pieces = _ENCODED.split(raw)
    decoded = []
    for index, piece in enumerate(pieces):
        if index % 2:
            decoded.append(_decode_base64(piece) if piece else "&")
        elif b"&" in piece:
            raise ValueError("modified UTF-7 with an unended shift")
        else:
            decoded.append(piece.decode("ascii"))
    return "".join(decoded)


def decode_lenient(raw: bytes) -> str:
    """Return the name that ``raw`` spells, whatever it holds: some servers send UTF-8 or a lone ``&``.

    Different bytes may become the same name; whoever needs to tell them apart keeps the bytes.
    """
    try:
        return decode(raw)
    except ValueError:
        return raw.decode("utf-8", errors="replace")


def _encode_match(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    packed = binascii.b2a_base64(match[0].encode("utf-16-be", errors="surrogatepass"), newline=False)
    return "&" + packed.rstrip(b"=").replace(b"/", b",").decode("ascii") + "-"


def _decode_base64(shifted: bytes) -> str:
    if b"/" in shifted or b"=" in shifted:
        raise ValueError("modified UTF-7 uses ',' and no padding")
    padded = shifted.replace(b",", b"/") + b"=" * (-len(shifted) % 4)
    try:
        return binascii.a2b_base64(padded, strict_mode=True).decode("utf-16-be")
    except binascii.Error as error:
        raise ValueError(f"modified UTF-7 is broken: {error}") from None
