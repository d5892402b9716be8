"""Whether bytes that came are those of the message that was asked for (quirk 26). Pure."""

from __future__ import annotations

from mailcache.mime.headers import first_values, parse_fields

_HEADER_END = b"\r\n\r\n"
_TELLING = (b"from", b"date", b"subject")


def is_same_message(header: bytes, beginning: bytes) -> bool:
    """Tell whether a message that begins so can be the one whose header was fetched before.

    By Message-ID where both have one; else by sender, date and subject. Other fields may differ: servers add some.
    """
    expected = first_values(parse_fields(header))
    head, _, _ = beginning.partition(_HEADER_END)
    found = first_values(parse_fields(head + _HEADER_END))
    ids = expected.get(b"message-id"), found.get(b"message-id")
    if all(ids):
        return _words(ids[0]) == _words(ids[1])
    return all(_words(expected.get(name)) == _words(found.get(name)) for name in _TELLING)


def _words(value: bytes | None) -> list[bytes]:
    return bytes(value or b"").split()
