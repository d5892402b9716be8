"""Makes fetched bodies durable, parses them, and gives them to their messages. Blocks; belongs in a thread."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mailcache.mime.parsed import parse_message
from mailcache.segments import store_segment, store_segment_file
from mailcache.services.ingest_bodies import BodyRow, add_contents
from mailcache.services.leases import Fence
from mailcache.spool import SpooledLiteral
from sync.spool import FetchedBody


def store_bodies(*, fence: Fence, mailbox_id: int, bodies: Sequence[FetchedBody]) -> int:
    """Store bodies of one mailbox: small ones in one segment, each large one alone; returns how many came to use."""
    small = [(body.remote_id, body.data) for body in bodies if isinstance(body.data, bytes)]
    added = _store_small(fence, mailbox_id, small) if small else 0
    for body in bodies:
        if isinstance(body.data, SpooledLiteral):
            added += _store_large(fence, mailbox_id, body.remote_id, body.data)
    return added


def _store_small(fence: Fence, mailbox_id: int, bodies: Sequence[tuple[int, bytes]]) -> int:
    rows = []
    offset = 0
    for remote_id, data in bodies:
        rows.append(BodyRow(remote_id, hashlib.sha256(data).digest(), offset, parse_message(data)))
        offset += len(data)
    segment = store_segment(account_id=fence.account_id, pieces=[data for _, data in bodies])
    added = add_contents(fence=fence, mailbox_id=mailbox_id, segment=segment, rows=rows)
    return added.stored + added.duplicate


def _store_large(fence: Fence, mailbox_id: int, remote_id: int, literal: SpooledLiteral) -> int:
    try:
        sha256 = literal.finish()
        with literal.mapped() as data:
            row = BodyRow(remote_id, sha256, 0, parse_message(data))
        segment = store_segment_file(account_id=fence.account_id, path=literal.path)
    finally:
        literal.discard()
    added = add_contents(fence=fence, mailbox_id=mailbox_id, segment=segment, rows=[row])
    return added.stored + added.duplicate
