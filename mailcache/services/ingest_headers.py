"""Ingest of the listing pass: header bytes, and what clients list by, before the bodies are here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from mailcache.mime.parsed import ParsedHeader
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.services.rows import execute

_ADD = """
    UPDATE mailcache_listing AS listing
    SET header = input.header, envelope = input.envelope, envelope_utf8 = input.envelope_utf8,
        listing_headers = input.listing_headers,
        message_id = COALESCE(NULLIF(input.message_id, ''), listing.message_id)
    FROM unnest(%(remotes)s::bigint[], %(headers)s::bytea[], %(envelopes)s::bytea[], %(envelopes_utf8)s::bytea[],
                %(listing_headers)s::bytea[], %(message_ids)s::text[])
         AS input (remote_id, header, envelope, envelope_utf8, listing_headers, message_id)
    WHERE listing.account_id = %(account)s AND listing.remote_id = input.remote_id
"""


@dataclass(frozen=True, slots=True)
class HeaderRow:
    """The header of one upstream message, as fetched and as rendered by us."""

    remote_id: int
    header: bytes
    parsed: ParsedHeader


@transaction.atomic
def add_headers(*, fence: Fence, rows: Sequence[HeaderRow]) -> int:
    """Store headers of messages whose bodies are still to come; returns how many were still wanted."""
    leases.check(fence)
    parameters = {
        "account": fence.account_id,
        "remotes": [row.remote_id for row in rows],
        "headers": [row.header for row in rows],
        "envelopes": [row.parsed.envelope for row in rows],
        "envelopes_utf8": [differing(row.parsed.envelope_utf8, row.parsed.envelope) for row in rows],
        "listing_headers": [row.parsed.listing_headers for row in rows],
        "message_ids": [row.parsed.message_id or "" for row in rows],
    }
    return execute(_ADD, parameters)


def differing(utf8: bytes, plain: bytes) -> bytes | None:
    """Return the UTF-8 rendering, or None where it equals the ASCII one and needs no column."""
    return None if utf8 == plain else utf8
