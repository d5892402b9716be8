"""Contents: kept once per account and hash, whoever brings the bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mailcache.mime.parsed import RENDERING_VERSION, ParsedMessage
from mailcache.models import Segment, SegmentState
from mailcache.services.ingest_headers import differing
from mailcache.services.rows import fetch_all

# Smaller messages lie in their row until they are packed, where somebody waits: no round trip to the object store.
INLINE_BYTES = 64 * 1024

_ADD = """
    INSERT INTO mailcache_content (
        account_id, sha256, size, segment_id, "offset", inline, rendering_version, header_size,
        envelope, envelope_utf8, body, body_utf8, bodystructure, bodystructure_utf8, sections, listing_headers,
        message_id, in_reply_to, "references", subject, base_subject, sort_from, sort_to, sort_cc, sent_at, preview,
        has_attachment, defects, created_at, emailid, internal_date, upstream_size)
    SELECT %(account)s, sha256, input.size, segment_id, "offset", inline, %(version)s, header_size,
        envelope, envelope_utf8, body, body_utf8, bodystructure, bodystructure_utf8, sections, listing_headers,
        message_id, in_reply_to, string_to_array("references", ' '), subject, base_subject, sort_from, sort_to, sort_cc,
        sent_at, preview, has_attachment, string_to_array(defects, E'\\n'), now(),
        COALESCE(origin.emailid, ''), origin.internal_date, NULLIF(origin.size, input.size)
    FROM unnest(
        %(sha256)s::bytea[], %(size)s::bigint[], %(segment_id)s::bigint[], %(offset)s::bigint[], %(inline)s::bytea[],
        %(header_size)s::bigint[],
        %(envelope)s::bytea[], %(envelope_utf8)s::bytea[], %(body)s::bytea[], %(body_utf8)s::bytea[],
        %(bodystructure)s::bytea[], %(bodystructure_utf8)s::bytea[], %(sections)s::bytea[],
        %(listing_headers)s::bytea[], %(message_id)s::text[], %(in_reply_to)s::text[], %(references)s::text[],
        %(subject)s::text[], %(base_subject)s::text[], %(sort_from)s::text[], %(sort_to)s::text[], %(sort_cc)s::text[],
        %(sent_at)s::timestamptz[], %(preview)s::text[], %(has_attachment)s::boolean[], %(defects)s::text[],
        %(remote)s::bigint[]
    ) AS input (
        sha256, size, segment_id, "offset", inline, header_size, envelope, envelope_utf8, body, body_utf8,
        bodystructure, bodystructure_utf8, sections, listing_headers, message_id, in_reply_to, "references", subject,
        base_subject, sort_from, sort_to, sort_cc, sent_at, preview, has_attachment, defects, remote_id)
    CROSS JOIN LATERAL (
        SELECT min(message.emailid) AS emailid, min(message.internal_date) AS internal_date, min(listing.size) AS size
        FROM mailcache_listing AS listing
        JOIN mailcache_message AS message ON message.remote_id = listing.remote_id
        WHERE listing.account_id = %(account)s AND listing.remote_id = input.remote_id
    ) AS origin
    ON CONFLICT (account_id, sha256) DO NOTHING
    RETURNING sha256, id, mailcache_content.size
"""

# Locked, so that a collector cannot delete what this transaction has just decided to share.
_FIND = """
    SELECT sha256, id FROM mailcache_content WHERE account_id = %(account)s AND sha256 = ANY(%(sha256)s) FOR KEY SHARE
"""


@dataclass(frozen=True, slots=True)
class NewContent:
    """Bytes that are durable in a segment, or given ``inline``, with what was learnt of them."""

    sha256: bytes
    parsed: ParsedMessage
    segment_id: int | None = None
    offset: int = 0
    inline: bytes | None = field(default=None, repr=False)
    remote_id: int | None = None
    """The Remote whose bytes they are; what it is known by is kept with them."""


@dataclass(frozen=True, slots=True)
class AddedContents:
    """``ids`` by hash of all that was asked for, new or shared; ``added`` are the sizes of the new ones by hash.

    ``origins`` are the Remotes from which the new ones have what they are known by.
    """

    ids: dict[bytes, int]
    added: dict[bytes, int]
    origins: frozenset[int | None]


def add_or_share_contents(*, account_id: int, contents: Sequence[NewContent]) -> AddedContents:
    """Keep contents that are not here yet, in the caller's transaction, and lock those that are."""
    first_by_hash = {content.sha256: content for content in reversed(contents)}
    # In one order: two that bring the same bytes at once wait for each other in one direction only.
    columns = _columns([first_by_hash[sha256] for sha256 in sorted(first_by_hash)])
    rows = fetch_all(_ADD, {**columns, "account": account_id, "version": RENDERING_VERSION})
    added = {bytes(sha256): (content_id, size) for sha256, content_id, size in rows}
    ids = {sha256: content_id for sha256, (content_id, _) in added.items()}
    if shared := [sha256 for sha256 in first_by_hash if sha256 not in added]:
        ids |= {
            bytes(sha256): content_id
            for sha256, content_id in fetch_all(_FIND, {"account": account_id, "sha256": shared})
        }
    return AddedContents(
        ids=ids,
        added={sha256: size for sha256, (_, size) in added.items()},
        origins=frozenset(first_by_hash[sha256].remote_id for sha256 in added),
    )


def note_dead_bytes(segment: Segment, dead: int) -> None:
    """Note that so many bytes of a new segment belong to no content: they were here already."""
    if dead:
        segment.dead_bytes = dead
        segment.state = SegmentState.DEAD if dead == segment.size else SegmentState.LIVE
        segment.save(update_fields=["dead_bytes", "state"])


def _columns(rows: Sequence[NewContent]) -> dict[str, Any]:
    parsed = [row.parsed for row in rows]
    columns: dict[str, Any] = {
        "sha256": [row.sha256 for row in rows],
        "segment_id": [row.segment_id for row in rows],
        "offset": [row.offset for row in rows],
        "inline": [row.inline for row in rows],
        "remote": [row.remote_id for row in rows],
        "envelope_utf8": [differing(message.envelope_utf8, message.envelope) for message in parsed],
        "body_utf8": [differing(message.body_utf8, message.body) for message in parsed],
        "bodystructure_utf8": [differing(message.bodystructure_utf8, message.bodystructure) for message in parsed],
        "message_id": [message.message_id or "" for message in parsed],
        "in_reply_to": [message.in_reply_to or "" for message in parsed],
        "references": [" ".join(message.references) for message in parsed],
        "defects": ["\n".join(message.defects) for message in parsed],
    }
    for name in _AS_THEY_ARE:
        columns[name] = [getattr(message, name) for message in parsed]
    return columns


_AS_THEY_ARE = (
    "size", "header_size", "envelope", "body", "bodystructure", "sections", "listing_headers", "subject",
    "base_subject", "sort_from", "sort_to", "sort_cc", "sent_at", "preview", "has_attachment",
)  # fmt: skip
