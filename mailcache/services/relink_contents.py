"""Relinking by the bytes: what nothing else tells of a message of a renumbered mailbox, its SHA-256 does.

A message without Message-ID whose date changed, or one of several alike, appears under a new UID beside the one that it
may be. That one stays until the bytes of the new one are here; if they are the same, it takes the other's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from django.db import transaction

from mailcache.flags import FlagSet
from mailcache.journal import write_change
from mailcache.models import BodyPolicy
from mailcache.services import leases
from mailcache.services.ingest_flags import apply_upstream_flags
from mailcache.services.leases import Fence
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.rows import CHUNK_ROWS, count_expunged, execute, fetch_all
from mailcache.wire.number_set import NumberSet

# Those of other numberings but for what one of the present numbering may be, whose bytes are under way, or put aside
# with nobody blamed. What either is known by without a look at the bytes is compared in one set, so that many of them
# cost no more each than few.
LEFTOVERS = """
    WITH expected AS MATERIALIZED (
        SELECT CASE WHEN listing.message_id <> '' THEN listing.message_id ELSE listing.size::text END AS trait
        FROM mailcache_listing AS listing
        JOIN mailcache_account AS account ON account.id = listing.account_id AND account.body_policy = %(all_bodies)s
        CROSS JOIN LATERAL (
            SELECT 1 FROM mailcache_remote WHERE id = listing.remote_id AND uidvalidity = %(uidvalidity)s LIMIT 1
        ) AS remote
        CROSS JOIN LATERAL (
            SELECT 1 FROM mailcache_message WHERE remote_id = listing.remote_id AND content_id IS NULL LIMIT 1
        ) AS message
        WHERE listing.account_id = %(account)s AND listing.mailbox_id = %(mailbox)s
          AND (listing.parked_reason = '' OR listing.attempts = 0)
    )
    SELECT remote.id, remote.uid
    FROM mailcache_remote AS remote
    LEFT JOIN LATERAL (
        SELECT CASE WHEN content.message_id <> '' THEN content.message_id
                    ELSE COALESCE(content.upstream_size, content.size)::text END AS trait
        FROM mailcache_message AS message JOIN mailcache_content AS content ON content.id = message.content_id
        WHERE message.remote_id = remote.id AND message.mailbox_id = %(mailbox)s LIMIT 1
    ) AS old ON true
    WHERE remote.account_id = %(account)s AND remote.mailbox_id = %(mailbox)s
      AND (remote.uidvalidity < %(uidvalidity)s OR remote.uidvalidity > %(uidvalidity)s)
      AND (old.trait IS NULL OR old.trait NOT IN (SELECT trait FROM expected))
    ORDER BY remote.id LIMIT %(limit)s
"""

# Equal messages are paired in the order of their UIDs. What appeared anew has a higher one than all that were here.
_PAIRS = """
    WITH stale AS MATERIALIZED (
        SELECT message.id, message.uid, message.content_id, remote.id AS remote_id,
               row_number() OVER (PARTITION BY message.content_id ORDER BY message.uid) AS place
        FROM mailcache_remote AS remote, LATERAL (
            SELECT id, uid, content_id FROM mailcache_message
            WHERE remote_id = remote.id AND mailbox_id = %(mailbox)s AND content_id IS NOT NULL LIMIT 1
        ) AS message
        WHERE remote.account_id = %(account)s AND remote.mailbox_id = %(mailbox)s
          AND (remote.uidvalidity < %(uidvalidity)s OR remote.uidvalidity > %(uidvalidity)s)
    ), fresh AS MATERIALIZED (
        SELECT message.*, row_number() OVER (PARTITION BY message.content_id ORDER BY message.uid) AS place
        FROM (SELECT content_id, max(uid) AS uid FROM stale GROUP BY content_id) AS stale, LATERAL (
            SELECT message.id, message.uid, message.content_id, message.flags, message.size,
                   remote.id AS remote_id, remote.uid AS upstream_uid,
                   remote.flags AS upstream_flags, remote.keywords AS upstream_keywords
            FROM mailcache_message AS message JOIN mailcache_remote AS remote ON remote.id = message.remote_id
            WHERE message.content_id = stale.content_id AND message.mailbox_id = %(mailbox)s AND message.uid > stale.uid
              AND remote.uidvalidity = %(uidvalidity)s AND remote.mailbox_id = %(mailbox)s
            OFFSET 0
        ) AS message
    )
    SELECT stale.id, stale.remote_id, fresh.id, fresh.remote_id, fresh.uid, fresh.flags, fresh.size,
           fresh.upstream_uid, fresh.upstream_flags, fresh.upstream_keywords
    FROM stale JOIN fresh USING (content_id, place)
    ORDER BY stale.uid LIMIT %(limit)s
"""

# Whatever was queued about either of the two goes on being true of the one that they are.
_TAKE_PLACE = """
    WITH input AS (
        SELECT * FROM unnest(
            %(olds)s::bigint[], %(old_remotes)s::bigint[], %(news)s::bigint[], %(new_remotes)s::bigint[]
        ) AS row (old_id, old_remote_id, new_id, new_remote_id)
    ), of_new AS (
        UPDATE mailcache_mutation AS mutation SET message_id = input.old_id
        FROM input WHERE mutation.account_id = %(account)s AND mutation.message_id = input.new_id
    ), of_old AS (
        UPDATE mailcache_mutation AS mutation SET remote_id = input.new_remote_id
        FROM input WHERE mutation.account_id = %(account)s AND mutation.remote_id = input.old_remote_id
    )
    UPDATE mailcache_message AS message SET remote_id = input.new_remote_id
    FROM input WHERE message.account_id = %(account)s AND message.remote_id = input.old_remote_id
"""
_DELETE = """
    WITH message AS (
        DELETE FROM mailcache_message WHERE account_id = %(account)s AND id = ANY(%(news)s)
    ), listing AS (
        DELETE FROM mailcache_listing WHERE account_id = %(account)s AND remote_id = ANY(%(old_remotes)s)
    )
    DELETE FROM mailcache_remote WHERE account_id = %(account)s AND id = ANY(%(old_remotes)s)
"""


class _Pair(NamedTuple):
    old_id: int
    old_remote_id: int
    new_id: int
    new_remote_id: int
    new_uid: int
    new_flags: int
    new_size: int
    upstream_uid: int
    upstream_flags: int
    upstream_keywords: Sequence[str]


def leftovers_of(*, account_id: int, mailbox_id: int, uidvalidity: int) -> list[int]:
    """Return the upstream UIDs of a mailbox's messages that are known under another UIDVALIDITY for good.

    Those are left out that a message of this numbering may turn out to be when its bytes have come.
    """
    where = {"account": account_id, "mailbox": mailbox_id, "uidvalidity": uidvalidity}
    return [uid for _, uid in fetch_all(LEFTOVERS, {**where, "all_bodies": BodyPolicy.ALL.value, "limit": None})]


@transaction.atomic
def relink_by_contents(*, fence: Fence, mailbox_id: int, uidvalidity: int, limit: int = CHUNK_ROWS) -> int:
    """Have messages known under an earlier UIDVALIDITY take the place of new ones with the same bytes.

    They keep their UID, and get the new one's place upstream and its flags; the new one's UID goes. Returns how many,
    at most ``limit``.
    """
    leases.check(fence)
    pairs = with_locks([mailbox_id], partial(_relink, mailbox_id, uidvalidity, limit))
    apply_upstream_flags(
        fence=fence,
        mailbox_id=mailbox_id,
        uidvalidity=uidvalidity,
        flags={pair.upstream_uid: FlagSet.of(pair.upstream_flags, pair.upstream_keywords) for pair in pairs},
    )
    return len(pairs)


def _relink(mailbox_id: int, uidvalidity: int, limit: int, locks: Locks) -> list[_Pair]:
    locked = locks[mailbox_id]
    where: dict[str, Any] = {"account": locked.account_id, "mailbox": mailbox_id, "uidvalidity": uidvalidity}
    pairs = [_Pair(*row) for row in fetch_all(_PAIRS, {**where, "limit": limit})]
    if not pairs:
        return []
    parameters = {
        "account": locked.account_id,
        "olds": [pair.old_id for pair in pairs],
        "old_remotes": [pair.old_remote_id for pair in pairs],
        "news": [pair.new_id for pair in pairs],
        "new_remotes": [pair.new_remote_id for pair in pairs],
    }
    execute(_TAKE_PLACE, parameters)
    execute(_DELETE, parameters)
    write_change(
        locked,
        expunged=NumberSet.from_numbers(pair.new_uid for pair in pairs),
        counters=count_expunged([FlagSet.of(pair.new_flags) for pair in pairs], [pair.new_size for pair in pairs]),
    )
    return pairs
