"""Message-ID, In-Reply-To and References (RFC 5322 3.6.4)."""

from __future__ import annotations

import re

MAX_REFERENCES = 200
_LONGEST = 1000
_MESSAGE_ID = re.compile(rb"<([^<>\s]{1,%d})>" % _LONGEST)


def first_message_id(value: bytes | None) -> str | None:
    """Return the first message id of a value with its angle brackets, or the value's first word, or None."""
    if value is None:
        return None
    match = _MESSAGE_ID.search(value)
    if match is not None:
        return _text(match[0])
    words = value.split(maxsplit=1)
    return _text(words[0][:_LONGEST]) if words else None


def all_message_ids(value: bytes | None) -> tuple[str, ...]:
    """Return the message ids of a value in order, without repetition; of very many the first and the last ones."""
    if value is None:
        return ()
    found = list(dict.fromkeys(_text(match[0]) for match in _MESSAGE_ID.finditer(value)))
    if len(found) > MAX_REFERENCES:
        found = [found[0], *found[1 - MAX_REFERENCES :]]
    return tuple(found)


def _text(raw: bytes) -> str:
    return raw.decode("ascii", errors="replace").replace("\0", "\ufffd")
