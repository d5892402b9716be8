"""Ingest of the skeleton pass: messages appear, with UID, flags, date and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from mailcache.flags import FlagSet
from mailcache.journal import lock_mailbox, write_change
from mailcache.models import Mailbox
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.services.rows import count_appeared, execute, fetch_all, keyword_column
from mailcache.wire.number_set import NumberSet

# Ours follow the upstream's UIDs only below this, so that an upstream that lies cannot use our numbers up.
_FOLLOW_BELOW = 2**31

_KNOWN = """
    SELECT uid FROM mailcache_remote
    WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s
      AND uidvalidity = %(uidvalidity)s AND uid = ANY(%(uids)s)
"""

_ADD = """
    WITH input AS (
        SELECT * FROM unnest(
            %(uids)s::bigint[], %(our_uids)s::bigint[], %(flags)s::smallint[], %(keywords)s::text[],
            %(dates)s::timestamptz[], %(zones)s::smallint[], %(sizes)s::bigint[], %(upstream_ids)s::text[]
        ) AS row (uid, our_uid, flags, keywords, internal_date, internal_zone, size, upstream_id)
    ), remote AS (
        INSERT INTO mailcache_remote (account_id, mailbox_id, uidvalidity, uid, upstream_id, labels, flags, keywords)
        SELECT %(account)s, %(mailbox)s, %(uidvalidity)s, uid, upstream_id, '{}', flags, string_to_array(keywords, ' ')
        FROM input
        RETURNING id, uid
    ), message AS (
        INSERT INTO mailcache_message (account_id, mailbox_id, uid, flags, keywords, modseq, internal_date,
                                       internal_zone, size, emailid, threadid, remote_id)
        SELECT %(account)s, %(mailbox)s, our_uid, flags, string_to_array(keywords, ' '), %(modseq)s, internal_date,
               internal_zone, size, '', '', remote.id
        FROM input JOIN remote USING (uid)
    )
    INSERT INTO mailcache_listing (account_id, mailbox_id, remote_id, uid, size, attempts, parked_reason)
    SELECT %(account)s, %(mailbox)s, remote.id, uid, size, 0, ''
    FROM input JOIN remote USING (uid)
"""


@dataclass(frozen=True, slots=True)
class SkeletonRow:
    """What the skeleton pass learns of one upstream message. ``internal_date`` is aware; its offset is kept.

    By ``upstream_id`` (EMAILID, X-GM-MSGID) or ``message_id`` (with its angle brackets) it may be known again; both are
    empty where they were not asked for or the upstream did not tell.
    """

    uid: int
    flags: FlagSet
    internal_date: datetime
    size: int
    upstream_id: str = ""
    message_id: str = ""
    labels: tuple[str, ...] = ()
    """X-GM-LABELS, decoded."""


@transaction.atomic
def set_upstream_uidvalidity(*, fence: Fence, mailbox_id: int, uidvalidity: int) -> None:
    """Note the UIDVALIDITY under which the upstream now numbers this mailbox."""
    leases.check(fence)
    Mailbox.objects.filter(account_id=fence.account_id, pk=mailbox_id).update(upstream_uidvalidity=uidvalidity)


@transaction.atomic
def add_messages(*, fence: Fence, mailbox_id: int, uidvalidity: int, rows: Sequence[SkeletonRow]) -> int:
    """Add upstream messages to a mailbox; returns how many are new. Rows known already are skipped.

    Our UIDs are those of the upstream where that keeps them ascending, else the next free ones.
    """
    leases.check(fence)
    locked = lock_mailbox(mailbox_id)
    where = {"account": locked.account_id, "mailbox": mailbox_id, "uidvalidity": uidvalidity}
    known = {uid for (uid,) in fetch_all(_KNOWN, {**where, "uids": [row.uid for row in rows]})}
    fresh = sorted({row.uid: row for row in rows if row.uid not in known}.values(), key=lambda row: row.uid)
    if not fresh:
        return 0
    our_uids = _our_uids(fresh, locked.uidnext)
    flags = [row.flags for row in fresh]
    columns: dict[str, Any] = {
        "uids": [row.uid for row in fresh],
        "our_uids": our_uids,
        "flags": [int(value.system) for value in flags],
        "keywords": keyword_column(flags),
        "dates": [row.internal_date for row in fresh],
        "zones": [_zone_minutes(row.internal_date) for row in fresh],
        "sizes": [row.size for row in fresh],
        "upstream_ids": [row.upstream_id for row in fresh],
    }
    execute(_ADD, {**where, **columns, "modseq": locked.modseq})
    write_change(
        locked,
        appeared=NumberSet.from_numbers(our_uids),
        uidnext=our_uids[-1] + 1,
        counters=count_appeared(flags, columns["sizes"]),
    )
    return len(fresh)


def _our_uids(rows: Sequence[SkeletonRow], uidnext: int) -> list[int]:
    uids = []
    for row in rows:
        uid = row.uid if uidnext <= row.uid < _FOLLOW_BELOW else uidnext
        uids.append(uid)
        uidnext = uid + 1
    return uids


def _zone_minutes(moment: datetime) -> int:
    return (moment.utcoffset() or timedelta()) // timedelta(minutes=1)
