"""Makes fetched bodies durable, parses them, and gives them to their messages. Blocks; belongs in a thread."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from mailcache.mime.parsed import parse_message
from mailcache.segments import store_segment, store_segment_file
from mailcache.services.ingest_bodies import BodiesAdded, BodyRow, add_contents
from mailcache.services.leases import Fence
from mailcache.spool import SpooledLiteral
from sync.spool import FetchedBody

OnAdded = Callable[[BodiesAdded], None]
"""Called with what became of bodies, as soon as they are committed."""


def _nothing(_added: BodiesAdded) -> None:
    return None


def store_bodies(
    *,
    fence: Fence,
    mailbox_id: int,
    bodies: Sequence[FetchedBody],
    on_added: OnAdded = _nothing,
    inline_bytes: int = 0,
) -> None:
    """Store bodies of one mailbox: small ones in one segment, each large one alone.

    Up to ``inline_bytes`` of small ones are kept in their rows: that is quicker by all that a segment costs.
    """
    small = [(body.remote_id, body.data) for body in bodies if isinstance(body.data, bytes)]
    if small:
        is_inline = sum(len(data) for _, data in small) <= inline_bytes
        on_added(_store_inline(fence, mailbox_id, small) if is_inline else _store_small(fence, mailbox_id, small))
    for body in bodies:
        if isinstance(body.data, SpooledLiteral):
            on_added(_store_large(fence, mailbox_id, body.remote_id, body.data))


def _store_inline(fence: Fence, mailbox_id: int, bodies: Sequence[tuple[int, bytes]]) -> BodiesAdded:
    rows = [
        BodyRow(remote_id, hashlib.sha256(data).digest(), parse_message(data), inline=data)
        for remote_id, data in bodies
    ]
    return add_contents(fence=fence, mailbox_id=mailbox_id, segment=None, rows=rows)


def _store_small(fence: Fence, mailbox_id: int, bodies: Sequence[tuple[int, bytes]]) -> BodiesAdded:
    rows = []
    offset = 0
    for remote_id, data in bodies:
        rows.append(BodyRow(remote_id, hashlib.sha256(data).digest(), parse_message(data), offset))
        offset += len(data)
    segment = store_segment(account_id=fence.account_id, pieces=[data for _, data in bodies])
    return add_contents(fence=fence, mailbox_id=mailbox_id, segment=segment, rows=rows)


def _store_large(fence: Fence, mailbox_id: int, remote_id: int, literal: SpooledLiteral) -> BodiesAdded:
    try:
        sha256 = literal.finish()
        with literal.mapped() as data:
            row = BodyRow(remote_id, sha256, parse_message(data))
        segment = store_segment_file(account_id=fence.account_id, path=literal.path)
    finally:
        literal.discard()
    return add_contents(fence=fence, mailbox_id=mailbox_id, segment=segment, rows=[row])
