"""Ingest of the skeleton pass: messages appear, with UID, flags, date and size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction

from mailcache.flags import FlagSet
from mailcache.identity import Traits, emailid_of, upstream_key
from mailcache.journal import write_change
from mailcache.models import Mailbox
from mailcache.services import leases
from mailcache.services.content_twins import Twin, find_twins
from mailcache.services.ingest_relink import relink_messages
from mailcache.services.labels import label_mailboxes, show_messages
from mailcache.services.leases import Fence
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.overlay import first_unknown_uid
from mailcache.services.rows import count_appeared, fetch_all, keyword_column
from mailcache.wire.number_set import NumberSet

# Ours follow the upstream's UIDs only below this, so that an upstream that lies cannot use our numbers up.
_FOLLOW_BELOW = 2**31
# The other message of a likely copy may be about to disappear, which makes it a move that needs no look at its bytes.
_COMPARE_AFTER = timedelta(minutes=10)

_KNOWN = """
    SELECT uid FROM mailcache_remote
    WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s
      AND uidvalidity = %(uidvalidity)s AND uid = ANY(%(uids)s)
"""

_ADD = """
    WITH input AS (
        SELECT * FROM unnest(
            %(uids)s::bigint[], %(our_uids)s::bigint[], %(flags)s::smallint[], %(keywords)s::text[],
            %(dates)s::timestamptz[], %(zones)s::smallint[], %(sizes)s::bigint[], %(upstream_sizes)s::bigint[],
            %(upstream_ids)s::text[], %(message_ids)s::text[], %(labels)s::text[], %(emailids)s::text[],
            %(contents)s::bigint[], %(to_compare)s::boolean[]
        ) AS row (uid, our_uid, flags, keywords, internal_date, internal_zone, size, upstream_size,
                  upstream_id, message_id, labels, emailid, content_id, to_compare)
    ), remote AS (
        INSERT INTO mailcache_remote (account_id, mailbox_id, uidvalidity, uid, upstream_id, labels, flags, keywords)
        SELECT %(account)s, %(mailbox)s, %(uidvalidity)s, uid, upstream_id, string_to_array(labels, E'\n'), flags,
               string_to_array(keywords, ' ')
        FROM input
        RETURNING id, uid
    ), message AS (
        INSERT INTO mailcache_message (account_id, mailbox_id, uid, flags, keywords, modseq, internal_date,
                                       internal_zone, size, emailid, threadid, remote_id, content_id)
        SELECT %(account)s, %(mailbox)s, our_uid, flags, string_to_array(keywords, ' '), %(modseq)s, internal_date,
               internal_zone, size, COALESCE(NULLIF(emailid, ''), 'i' || remote.id), '', remote.id, content_id
        FROM input JOIN remote USING (uid)
    ), listing AS (
        INSERT INTO mailcache_listing (account_id, mailbox_id, remote_id, uid, size, message_id, attempts,
                                       parked_reason, retry_at)
        SELECT %(account)s, %(mailbox)s, remote.id, uid, upstream_size, message_id, 0, '',
               CASE WHEN to_compare THEN now() + %(compare_after)s END
        FROM input JOIN remote USING (uid)
        WHERE content_id IS NULL OR to_compare
    )
    SELECT uid, id FROM remote
"""


@dataclass(frozen=True, slots=True)
class SkeletonRow:
    """What the skeleton pass learns of one upstream message. ``internal_date`` is aware; its offset is kept.

    ``upstream_id`` (EMAILID, X-GM-MSGID) or ``message_id`` (with its angle brackets) let it be known again after it was
    renumbered or moved; both are empty where the message has none or the upstream was not asked.
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


def add_messages(
    *, fence: Fence, mailbox_id: int, uidvalidity: int, rows: Sequence[SkeletonRow], settlements: int = 0
) -> int:
    """Take over upstream messages; returns how many are new here. Rows known already are skipped.

    A message known under an earlier UIDVALIDITY gets its new numbers, in a transaction of its own; one whose bytes are
    here, because it was in another mailbox, appears with them. Our UIDs are those of the upstream where that keeps them
    ascending, else the next free ones. ``settlements`` is what the account had counted before the rows were read.
    """
    by_uid = {row.uid: row for row in sorted(rows, key=lambda row: row.uid)}
    traits = {uid: _traits(row) for uid, row in by_uid.items()}
    relink_messages(
        fence=fence,
        mailbox_id=mailbox_id,
        uidvalidity=uidvalidity,
        traits=traits,
        flags={uid: row.flags for uid, row in by_uid.items()},
        settlements=settlements,
    )
    return _insert(fence, mailbox_id, uidvalidity, by_uid, traits)


@transaction.atomic
def _insert(
    fence: Fence, mailbox_id: int, uidvalidity: int, rows: Mapping[int, SkeletonRow], traits: Mapping[int, Traits]
) -> int:
    leases.check(fence)
    labels = {label for row in rows.values() for label in row.labels}
    shown_in = label_mailboxes(fence.account_id, mailbox_id) if labels else {}
    needed = {mailbox_id, *(shown for label, shown in shown_in.items() if label in labels)}
    return with_locks(needed, partial(_insert_locked, mailbox_id, uidvalidity, rows, traits))


def _insert_locked(
    mailbox_id: int,
    uidvalidity: int,
    rows: Mapping[int, SkeletonRow],
    traits: Mapping[int, Traits],
    locks: Locks,
) -> int:
    locked = locks[mailbox_id]
    where = {"account": locked.account_id, "mailbox": mailbox_id, "uidvalidity": uidvalidity}
    known = {uid for (uid,) in fetch_all(_KNOWN, {**where, "uids": list(rows)})}
    # Copies of ours whose outcome is not known yet are among what is there from here on: replay tells which.
    unknown_from = first_unknown_uid(account_id=locked.account_id, mailbox_id=mailbox_id, uidvalidity=uidvalidity)
    fresh = [row for uid, row in rows.items() if uid not in known and (unknown_from is None or uid < unknown_from)]
    if not fresh:
        return 0
    twins = find_twins(
        account_id=locked.account_id, mailbox_id=mailbox_id, traits={row.uid: traits[row.uid] for row in fresh}
    )
    our_uids = _our_uids(fresh, locked.uidnext)
    columns = _columns(fresh, traits) | _twin_columns(fresh, traits, twins)
    added = fetch_all(
        _ADD,
        {**where, **columns, "our_uids": our_uids, "modseq": locked.modseq, "compare_after": _COMPARE_AFTER},
    )
    write_change(
        locked,
        appeared=NumberSet.from_numbers(our_uids),
        uidnext=our_uids[-1] + 1,
        counters=count_appeared([row.flags for row in fresh], columns["sizes"]),
    )
    if any(row.labels for row in fresh):
        # In this transaction: of a message that is known only changes of its labels are told.
        show_messages(locks, mailbox_id, {remote_id: rows[uid].labels for uid, remote_id in sorted(added)})
    return len(fresh)


def _traits(row: SkeletonRow) -> Traits:
    return Traits(row.size, row.internal_date, upstream_key(row.upstream_id), row.message_id)


def _columns(rows: Sequence[SkeletonRow], traits: Mapping[int, Traits]) -> dict[str, list[Any]]:
    flags = [row.flags for row in rows]
    return {
        "uids": [row.uid for row in rows],
        "flags": [int(value.system) for value in flags],
        "keywords": keyword_column(flags),
        "dates": [row.internal_date for row in rows],
        "zones": [_zone_minutes(row.internal_date) for row in rows],
        "upstream_sizes": [row.size for row in rows],
        "upstream_ids": [traits[row.uid].upstream_id for row in rows],
        "message_ids": [row.message_id for row in rows],
        "labels": ["\n".join(row.labels) for row in rows],
    }


def _twin_columns(
    rows: Sequence[SkeletonRow], traits: Mapping[int, Traits], twins: Mapping[int, Twin]
) -> dict[str, list[Any]]:
    """Return the columns that come from a message's Content, for those whose Content is here."""
    found = [twins.get(row.uid) for row in rows]
    return {
        "sizes": [twin.size if twin else row.size for row, twin in zip(rows, found, strict=True)],
        "emailids": [
            twin.emailid if twin else emailid_of(traits[row.uid].upstream_id)
            for row, twin in zip(rows, found, strict=True)
        ],
        "contents": [twin and twin.content_id for twin in found],
        "to_compare": [bool(twin and twin.to_compare) for twin in found],
    }


def _our_uids(rows: Sequence[SkeletonRow], uidnext: int) -> list[int]:
    uids = []
    for row in rows:
        uid = row.uid if uidnext <= row.uid < _FOLLOW_BELOW else uidnext
        uids.append(uid)
        uidnext = uid + 1
    return uids


def _zone_minutes(moment: datetime) -> int:
    return (moment.utcoffset() or timedelta()) // timedelta(minutes=1)
