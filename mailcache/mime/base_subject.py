"""The base subject (RFC 5256 2.1): a subject without its reply and forward marks, for sorting and threading."""

from __future__ import annotations

import re

_SPACES = re.compile(r"\s+")
_TRAILER = re.compile(r"(?:\(fwd\)|\s)+\Z", re.IGNORECASE)
_BLOB = r"\[[^\[\]]*\]\s*"
_LEADER = re.compile(rf"\A(?:\s+|(?:{_BLOB})*(?:re|fwd?)\s*(?:{_BLOB})?:)", re.IGNORECASE)
_LEADING_BLOB = re.compile(rf"\A{_BLOB}")
_FORWARDED = re.compile(r"\A\[fwd:(.*)\]\Z", re.IGNORECASE | re.DOTALL)
_LONGEST = 2000


def base_subject(subject: str) -> str:
    """Return the base subject of a decoded subject, in lower case as sorting and threading compare it."""
    text = _SPACES.sub(" ", subject[:_LONGEST])
    while True:
        text = _strip(text)
        forwarded = _FORWARDED.match(text)
        if forwarded is None:
            return text.strip().lower()
        text = forwarded[1]


def _strip(text: str) -> str:
    text = _TRAILER.sub("", text)
    while True:
        stripped = _LEADER.sub("", text, count=1)
        without_blob = _LEADING_BLOB.sub("", stripped, count=1)
        # A blob goes only if something remains without it.
        if without_blob.strip():
            stripped = without_blob
        if stripped == text:
            return text
        text = stripped
