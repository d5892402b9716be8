"""Ingest of the bodies pass: what was learnt from a message's bytes, once they are durable in a segment."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.models import F

from mailcache.journal import announce_bodies
from mailcache.mime.parsed import ParsedMessage
from mailcache.models import Account, Listing, Segment
from mailcache.segments import StoredSegment
from mailcache.services import leases
from mailcache.services.body_links import Body, link_bodies
from mailcache.services.contents import AddedContents, NewContent, add_or_share_contents, note_dead_bytes
from mailcache.services.leases import Fence


@dataclass(frozen=True, slots=True)
class BodyRow:
    """One fetched message: its bytes or where they begin in the segment, their hash, and what they hold."""

    remote_id: int
    sha256: bytes
    parsed: ParsedMessage
    offset: int = 0
    inline: bytes | None = field(default=None, repr=False)


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
def add_contents(
    *, fence: Fence, mailbox_id: int, segment: StoredSegment | None, rows: Sequence[BodyRow]
) -> BodiesAdded:
    """Give messages of one upstream mailbox their bytes, which are durable in ``segment`` already, or in the rows.

    Equal bytes are kept once per account. Every message of a Remote gets them, in whatever mailbox it is shown
    (Gmail's labels). One whose size was announced wrongly, or that was taken for a copy and is none, gets a new UID,
    because what was served under the old one may never change.
    """
    leases.check(fence)
    account_id = fence.account_id
    found = _keep(account_id, segment, rows)
    kept = sum(found.added.values())
    Account.objects.filter(pk=account_id).update(used_bytes=F("used_bytes") + kept)
    bodies = {
        row.remote_id: Body(found.ids[row.sha256], row.parsed.size, row.remote_id in found.origins) for row in rows
    }
    linked = link_bodies(account_id=account_id, mailbox_id=mailbox_id, bodies=bodies)
    Listing.objects.filter(account_id=account_id, remote_id__in=[row.remote_id for row in rows]).delete()
    transaction.on_commit(partial(announce_bodies, account_id))
    return BodiesAdded(
        stored=len(found.added),
        duplicate=len(rows) - len(found.added),
        vanished=len(rows) - linked.remotes,
        resized=linked.resized,
    )


def _keep(account_id: int, segment: StoredSegment | None, rows: Sequence[BodyRow]) -> AddedContents:
    stored: Segment | None = None
    if segment is not None:
        stored = Segment.objects.create(account_id=account_id, name=segment.name, size=segment.size)
    segment_id = None if stored is None else stored.pk
    contents = [
        NewContent(row.sha256, row.parsed, segment_id, row.offset, inline=row.inline, remote_id=row.remote_id)
        for row in rows
    ]
    found = add_or_share_contents(account_id=account_id, contents=contents)
    if stored is not None:
        note_dead_bytes(stored, stored.size - sum(found.added.values()))
    return found


def expected_message_ids(account_id: int, remote_ids: Collection[int]) -> dict[int, str]:
    """Return the Message-ID that each body must have, by Remote, as far as it is known (quirk 26)."""
    rows = Listing.objects.filter(account_id=account_id, remote_id__in=remote_ids).exclude(message_id="")
    return dict(rows.values_list("remote_id", "message_id"))


@transaction.atomic
def put_off_bodies(*, fence: Fence, mailbox_id: int, uidvalidity: int, uids: Collection[int], until: datetime) -> None:
    """Have bytes of messages that are perhaps gone not asked for before ``until``; nothing is wrong with them."""
    leases.check(fence)
    rows = Listing.objects.filter(account_id=fence.account_id, mailbox_id=mailbox_id, uid__in=uids, parked_reason="")
    rows.filter(remote__uidvalidity=uidvalidity).update(retry_at=until)


@transaction.atomic
def park_listings(
    *, fence: Fence, remote_ids: Collection[int], reason: str, retry_at: datetime, blame: bool = True
) -> None:
    """Put messages aside until ``retry_at``, with the reason why their bytes could not be fetched.

    ``blame`` counts it as an attempt at each of them.
    """
    leases.check(fence)
    Listing.objects.filter(account_id=fence.account_id, remote_id__in=remote_ids).update(
        parked_reason=reason, retry_at=retry_at, attempts=F("attempts") + int(blame)
    )
