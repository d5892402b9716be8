"""ENVELOPE (RFC 3501 7.4.2), rendered from header fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from mailcache.mime.addresses import Address, parse_addresses
from mailcache.mime.headers import Field, unfold
from mailcache.wire.strings import render_nstring, render_nstring_utf8

Render = Callable[[bytes | None], bytes]

_WHITE_SPACE = re.compile(rb"[ \t\r\n]+")
# Words with one space between them, and nothing that has to be escaped: what most texts are.
_PLAIN = re.compile(rb"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
_TO_ESCAPE = re.compile(rb'["\\]')
_ADDRESS_FIELDS = (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc")


def render_envelope(fields: Sequence[Field], render: Render = render_nstring) -> bytes:
    """Return the envelope of a header in parentheses; ``render`` decides about 8-bit strings."""
    texts: dict[bytes, bytes] = {}
    lists: dict[bytes, tuple[Address, ...]] = {}
    for field in fields:
        if field.name in _ADDRESS_FIELDS:
            # Dovecot joins the addresses of repeated fields.
            lists[field.name] = lists.get(field.name, ()) + parse_addresses(field.value)
        elif field.name in (b"date", b"subject", b"in-reply-to", b"message-id"):
            texts[field.name] = field.value  # the last one of repeated fields, as Dovecot shows it
    sender = lists.get(b"from", ())
    rendered = [
        _text(texts.get(b"date"), render),
        _for_people(texts.get(b"subject"), render),
        _addresses(sender, render),
        _addresses(lists.get(b"sender") or sender, render),
        _addresses(lists.get(b"reply-to") or sender, render),
        *(_addresses(lists.get(name, ()), render) for name in (b"to", b"cc", b"bcc")),
        _text(texts.get(b"in-reply-to"), render),
        _text(texts.get(b"message-id"), render),
    ]
    return b"(" + b" ".join(rendered) + b")"


def render_envelope_utf8(fields: Sequence[Field]) -> bytes:
    """Return the envelope for a connection that takes UTF-8 (RFC 6855)."""
    return render_envelope(fields, render_nstring_utf8)


def _text(value: bytes | None, render: Render) -> bytes:
    return render(None if value is None else without_nul(unfold(value)))


def _addresses(addresses: Sequence[Address], render: Render) -> bytes:
    if not addresses:
        return b"NIL"
    return b"(" + b"".join(_address(address, render) for address in addresses) + b")"


def _address(address: Address, render: Render) -> bytes:
    rest = (_text(part, render) for part in (address.route, address.mailbox, address.host))
    return b"(" + b" ".join((_for_people(address.name, render), *rest)) + b")"


def _for_people(value: bytes | None, render: Render) -> bytes:
    """Return a text that people read: runs of white space are one space; as a literal unless it is plain.

    Clients of old misread quoted strings with escapes, so Dovecot sends none here, and neither do we.
    """
    if value is None:
        return b"NIL"
    if _PLAIN.fullmatch(value):
        return b'"' + value + b'"'
    shown = _WHITE_SPACE.sub(b" ", without_nul(value)).strip(b" ")
    if shown == value and not _TO_ESCAPE.search(shown):
        return render(shown)
    return b"{%d}\r\n%b" % (len(shown), shown) if shown else b'""'


def without_nul(value: bytes) -> bytes:
    """Return ``value`` with what no IMAP string may hold (NUL) made 0x80, as Dovecot does."""
    return value.replace(b"\0", b"\x80") if b"\0" in value else value
