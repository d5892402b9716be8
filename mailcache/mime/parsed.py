"""Everything that is kept of a message besides its bytes, computed once when the bytes arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailcache.mime.addresses import parse_addresses
from mailcache.mime.base_subject import base_subject
from mailcache.mime.bodystructure import render_body, render_bodystructure
from mailcache.mime.date import parse_date_field
from mailcache.mime.encoded_words import decode_words
from mailcache.mime.envelope import render_envelope, render_envelope_utf8
from mailcache.mime.headers import Buffer, Field, first_values, parse_fields, unfold
from mailcache.mime.message_ids import all_message_ids, first_message_id
from mailcache.mime.scan import scan
from mailcache.mime.sections import SectionTable
from mailcache.mime.text import find_preview, has_attachment

# Raised when a rendering changes, so that rows of an older one can be found.
RENDERING_VERSION = 1

# What clients ask for to show a list of messages: Thunderbird, Apple Mail, mutt, K-9, Outlook, Roundcube, mbsync.
_LISTING_FIELDS = b"""
    bcc cc content-description content-transfer-encoding content-type date delivered-to disposition-notification-to from
    importance in-reply-to lines list-id list-post list-unsubscribe mail-followup-to message-id mime-version newsgroups
    organization priority received-spf references reply-to resent-date resent-from resent-to sender
    subject to user-agent x-draft-info x-identity-key x-k9mail-identity x-keywords x-label x-mailer x-priority
    x-spam-flag x-spam-level x-spam-status x-status
"""
LISTING_FIELDS = frozenset(_LISTING_FIELDS.split())
# Two columns of one row: what does not fit is asked from the header itself.
MAX_LISTING_BYTES = 64 * 1024
_MAX_SUBJECT = 2000


@dataclass(frozen=True, slots=True)
class ParsedHeader:
    """What a header alone says: the same as ``ParsedMessage`` says later."""

    envelope: bytes
    envelope_utf8: bytes
    listing_headers: bytes | None
    message_id: str | None


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """What is stored of a message. ``*_utf8`` equals its ASCII sister unless the message has 8-bit headers.

    ``listing_headers`` is None where the header has more of them than are worth a column.
    """

    size: int
    header_size: int
    envelope: bytes
    envelope_utf8: bytes
    body: bytes
    body_utf8: bytes
    bodystructure: bytes
    bodystructure_utf8: bytes
    sections: bytes
    listing_headers: bytes | None
    message_id: str | None
    in_reply_to: str | None
    references: tuple[str, ...]
    subject: str
    base_subject: str
    sort_from: str
    sort_to: str
    sort_cc: str
    sent_at: datetime | None
    preview: str
    has_attachment: bool
    defects: tuple[str, ...]


def parse_header(header: bytes) -> ParsedHeader:
    """Return what a header block says. Never raises."""
    return _render_header(parse_fields(header))


def parse_message(data: Buffer) -> ParsedMessage:
    """Return what is stored of a message, from its wire bytes (``bytes`` or a memory map). Never raises."""
    scanned = scan(data)
    root = scanned.root
    fields = root.fields
    values = root.values
    header = _render_header(fields)
    body, bodystructure = render_body(root), render_bodystructure(root)
    subject = decode_words(unfold(values.get(b"subject", b"")))[:_MAX_SUBJECT]
    return ParsedMessage(
        size=len(data),
        header_size=root.body_start,
        envelope=header.envelope,
        envelope_utf8=header.envelope_utf8,
        body=body,
        body_utf8=body if body.isascii() else render_body(root, utf8=True),
        bodystructure=bodystructure,
        bodystructure_utf8=bodystructure if bodystructure.isascii() else render_bodystructure(root, utf8=True),
        sections=SectionTable.of(root).pack(),
        listing_headers=header.listing_headers,
        message_id=header.message_id,
        in_reply_to=first_message_id(values.get(b"in-reply-to")),
        references=all_message_ids(values.get(b"references")),
        subject=subject,
        base_subject=base_subject(subject),
        sort_from=_sort_key(values.get(b"from")),
        sort_to=_sort_key(values.get(b"to")),
        sort_cc=_sort_key(values.get(b"cc")),
        sent_at=parse_date_field(values.get(b"date")),
        preview=find_preview(data, root),
        has_attachment=has_attachment(root),
        defects=scanned.defects,
    )


def _render_header(fields: Sequence[Field]) -> ParsedHeader:
    envelope = render_envelope(fields)
    return ParsedHeader(
        envelope=envelope,
        envelope_utf8=envelope if envelope.isascii() else render_envelope_utf8(fields),
        listing_headers=_listing_headers(fields),
        message_id=first_message_id(first_values(fields).get(b"message-id")),
    )


def _listing_headers(fields: Sequence[Field]) -> bytes | None:
    lines = b"".join(field.raw for field in fields if field.name in LISTING_FIELDS)
    return lines if len(lines) <= MAX_LISTING_BYTES else None


def _sort_key(value: bytes | None) -> str:
    """Return the mailbox of the first address (RFC 5256 3: sorting by FROM, TO, CC)."""
    addresses = parse_addresses(value) if value else ()
    first = next((address.mailbox for address in addresses if address.host is not None), None)
    return decode_words(first or b"")[:_MAX_SUBJECT].lower()
