"""Ingest of the bodies pass: what was learnt from a message's bytes, once they are durable in a segment."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F

from mailcache.journal import announce_bodies
from mailcache.mime.parsed import RENDERING_VERSION, ParsedMessage
from mailcache.models import Account, Listing, Segment, SegmentState
from mailcache.segments import StoredSegment
from mailcache.services import leases
from mailcache.services.body_links import Body, link_bodies
from mailcache.services.ingest_headers import differing
from mailcache.services.leases import Fence
from mailcache.services.rows import fetch_all

_ADD = """
    INSERT INTO mailcache_content (
        account_id, sha256, size, segment_id, "offset", rendering_version, header_size,
        envelope, envelope_utf8, body, body_utf8, bodystructure, bodystructure_utf8, sections, listing_headers,
        message_id, in_reply_to, "references", subject, base_subject, sort_from, sort_to, sort_cc, sent_at, preview,
        has_attachment, defects, created_at, emailid, internal_date, upstream_size)
    SELECT %(account)s, sha256, input.size, %(segment)s, "offset", %(version)s, header_size,
        envelope, envelope_utf8, body, body_utf8, bodystructure, bodystructure_utf8, sections, listing_headers,
        message_id, in_reply_to, string_to_array("references", ' '), subject, base_subject, sort_from, sort_to, sort_cc,
        sent_at, preview, has_attachment, string_to_array(defects, E'\\n'), now(),
        COALESCE(origin.emailid, ''), origin.internal_date, NULLIF(origin.size, input.size)
    FROM unnest(
        %(sha256)s::bytea[], %(size)s::bigint[], %(offset)s::bigint[], %(header_size)s::bigint[],
        %(envelope)s::bytea[], %(envelope_utf8)s::bytea[], %(body)s::bytea[], %(body_utf8)s::bytea[],
        %(bodystructure)s::bytea[], %(bodystructure_utf8)s::bytea[], %(sections)s::bytea[],
        %(listing_headers)s::bytea[], %(message_id)s::text[], %(in_reply_to)s::text[], %(references)s::text[],
        %(subject)s::text[], %(base_subject)s::text[], %(sort_from)s::text[], %(sort_to)s::text[], %(sort_cc)s::text[],
        %(sent_at)s::timestamptz[], %(preview)s::text[], %(has_attachment)s::boolean[], %(defects)s::text[],
        %(remote)s::bigint[]
    ) AS input (
        sha256, size, "offset", header_size, envelope, envelope_utf8, body, body_utf8, bodystructure,
        bodystructure_utf8, sections, listing_headers, message_id, in_reply_to, "references", subject, base_subject,
        sort_from, sort_to, sort_cc, sent_at, preview, has_attachment, defects, remote_id)
    CROSS JOIN LATERAL (
        SELECT min(message.emailid) AS emailid, min(message.internal_date) AS internal_date, min(listing.size) AS size
        FROM mailcache_listing AS listing
        JOIN mailcache_message AS message ON message.remote_id = listing.remote_id
        WHERE listing.account_id = %(account)s AND listing.remote_id = input.remote_id
    ) AS origin
    ON CONFLICT (account_id, sha256) DO NOTHING
    RETURNING sha256
"""

# Locked, so that a collector cannot delete what this ingest has just decided to share.
_FIND = """
    SELECT sha256, id FROM mailcache_content WHERE account_id = %(account)s AND sha256 = ANY(%(sha256)s) FOR KEY SHARE
"""


@dataclass(frozen=True, slots=True)
class BodyRow:
    """One fetched message: where its bytes begin in the segment, their hash, and what they hold."""

    remote_id: int
    sha256: bytes
    offset: int
    parsed: ParsedMessage


@dataclass(frozen=True, slots=True)
class BodiesAdded:
    """What became of a batch: bytes kept, bytes that were here already, messages expunged in the meantime.

    ``resized`` counts messages that got a new UID because their size had been announced wrongly.
    """

    stored: int
    duplicate: int
    vanished: int
    resized: int


@transaction.atomic
def add_contents(*, fence: Fence, mailbox_id: int, segment: StoredSegment, rows: Sequence[BodyRow]) -> BodiesAdded:
    """Give messages of one upstream mailbox their bytes, which are durable in ``segment`` already.

    Equal bytes are kept once per account. Every message of a Remote gets them, in whatever mailbox it is shown
    (Gmail's labels). One whose size was announced wrongly, or that was taken for a copy and is none, gets a new UID,
    because what was served under the old one may never change.
    """
    leases.check(fence)
    account_id = fence.account_id
    first_by_hash = {row.sha256: row for row in reversed(rows)}
    segment_row = Segment.objects.create(account_id=account_id, name=segment.name, size=segment.size)
    columns = _columns(list(first_by_hash.values()))
    added = fetch_all(_ADD, {**columns, "account": account_id, "segment": segment_row.pk, "version": RENDERING_VERSION})
    kept = sum(first_by_hash[bytes(sha256)].parsed.size for (sha256,) in added)
    contents = {
        bytes(sha256): content_id
        for sha256, content_id in fetch_all(_FIND, {"account": account_id, "sha256": list(first_by_hash)})
    }
    Account.objects.filter(pk=account_id).update(used_bytes=F("used_bytes") + kept)
    _note_dead_bytes(segment_row, segment.size - kept)
    bodies = {row.remote_id: Body(contents[row.sha256], row.parsed.size) for row in rows}
    linked = link_bodies(account_id=account_id, mailbox_id=mailbox_id, bodies=bodies)
    Listing.objects.filter(account_id=account_id, remote_id__in=[row.remote_id for row in rows]).delete()
    transaction.on_commit(partial(announce_bodies, account_id))
    return BodiesAdded(
        stored=len(added),
        duplicate=len(rows) - len(added),
        vanished=len(rows) - linked.remotes,
        resized=linked.resized,
    )


def expected_message_ids(account_id: int, remote_ids: Collection[int]) -> dict[int, str]:
    """Return the Message-ID that each body must have, by Remote, as far as it is known (quirk 26)."""
    rows = Listing.objects.filter(account_id=account_id, remote_id__in=remote_ids).exclude(message_id="")
    return dict(rows.values_list("remote_id", "message_id"))


@transaction.atomic
def park_listing(*, fence: Fence, remote_id: int, reason: str, retry_at: datetime) -> None:
    """Put one message aside until ``retry_at``, with the reason why its bytes could not be fetched."""
    leases.check(fence)
    Listing.objects.filter(account_id=fence.account_id, remote_id=remote_id).update(
        parked_reason=reason, retry_at=retry_at, attempts=F("attempts") + 1
    )


def _note_dead_bytes(segment: Segment, dead: int) -> None:
    if dead:
        segment.dead_bytes = dead
        segment.state = SegmentState.DEAD if dead == segment.size else SegmentState.LIVE
        segment.save(update_fields=["dead_bytes", "state"])


def _columns(rows: Sequence[BodyRow]) -> dict[str, Any]:
    parsed = [row.parsed for row in rows]
    columns: dict[str, Any] = {
        "sha256": [row.sha256 for row in rows],
        "offset": [row.offset for row in rows],
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
