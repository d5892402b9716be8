"""Relinking: a mailbox that the upstream renumbered (another UIDVALIDITY) keeps its messages, their UIDs and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from mailcache.flags import FlagSet
from mailcache.identity import Traits, emailid_of, pair
from mailcache.models import MutationState
from mailcache.services import leases
from mailcache.services.ingest_flags import apply_upstream_flags
from mailcache.services.leases import Fence
from mailcache.services.rows import execute, fetch_all

# Two ranges of the index rather than ``<>``, which would read all of a mailbox that was never renumbered.
_IS_RENUMBERED = """
    SELECT 1 FROM mailcache_remote
    WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s
      AND (uidvalidity < %(uidvalidity)s OR uidvalidity > %(uidvalidity)s)
    LIMIT 1
"""

_KNOWN = """
    SELECT uid FROM mailcache_remote
    WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s
      AND uidvalidity = %(uidvalidity)s AND uid = ANY(%(uids)s)
"""

# Three ways to those that may be meant, none of which reads the whole mailbox for each chunk: what the bytes tell, what
# is known of those not fetched yet, and what clients have moved or deleted here while the upstream still has it.
# LATERAL with LIMIT or OFFSET: looked up row by row, also where statistics know no account that is new.
_STALE = """
    WITH content AS MATERIALIZED (
        SELECT id FROM mailcache_content
        WHERE account_id = %(account)s AND message_id = ANY(%(message_ids)s) AND message_id <> ''
        UNION
        SELECT id FROM mailcache_content
        WHERE account_id = %(account)s AND emailid = ANY(%(emailids)s) AND emailid <> ''
        UNION
        SELECT id FROM mailcache_content
        WHERE account_id = %(account)s AND internal_date = ANY(%(dates)s) AND message_id = ''
    ), candidate AS MATERIALIZED (
        SELECT message.remote_id
        FROM content, LATERAL (
            SELECT remote_id FROM mailcache_message WHERE content_id = content.id AND remote_id IS NOT NULL OFFSET 0
        ) AS message
        UNION
        SELECT remote_id FROM mailcache_listing
        WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s
          AND message_id = ANY(%(message_ids)s) AND message_id <> ''
        UNION
        SELECT listing.remote_id
        FROM mailcache_listing AS listing, LATERAL (
            SELECT internal_date FROM mailcache_message WHERE remote_id = listing.remote_id LIMIT 1
        ) AS message, LATERAL (
            SELECT upstream_id FROM mailcache_remote
            WHERE id = listing.remote_id AND uidvalidity <> %(uidvalidity)s LIMIT 1
        ) AS remote
        WHERE listing.account_id = %(account)s AND listing.mailbox_id = %(mailbox)s
          AND (listing.message_id = '' OR %(upstream_ids)s::text[] <> '{}')
          AND (message.internal_date = ANY(%(dates)s) OR remote.upstream_id = ANY(%(upstream_ids)s))
        UNION
        SELECT remote_id FROM mailcache_mutation
        WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s AND remote_id IS NOT NULL AND state <> %(settled)s
    ), stale AS MATERIALIZED (
        SELECT remote.*
        FROM candidate, LATERAL (
            SELECT id, uid, upstream_id, mailbox_id FROM mailcache_remote
            WHERE id = candidate.remote_id AND account_id = %(account)s AND mailbox_id = %(mailbox)s
              AND uidvalidity <> %(uidvalidity)s
            LIMIT 1
        ) AS remote
    )
    SELECT stale.id, COALESCE(content.upstream_size, known.size), known.internal_date, stale.upstream_id,
           COALESCE(content.message_id, NULLIF(listing.message_id, ''))
    FROM stale
    CROSS JOIN LATERAL (
        SELECT size, internal_date, content_id FROM (
            SELECT size, internal_date, content_id, mailbox_id <> stale.mailbox_id AS elsewhere
            FROM mailcache_message WHERE remote_id = stale.id
            UNION ALL
            SELECT (arguments->>'size')::bigint, (arguments->>'internal_date')::timestamptz, content_id, true
            FROM mailcache_mutation WHERE remote_id = stale.id AND arguments ? 'internal_date'
        ) AS either
        ORDER BY elsewhere LIMIT 1
    ) AS known
    LEFT JOIN LATERAL (
        SELECT upstream_size, message_id FROM mailcache_content WHERE id = known.content_id LIMIT 1
    ) AS content ON true
    LEFT JOIN LATERAL (
        SELECT message_id FROM mailcache_listing WHERE account_id = %(account)s AND remote_id = stale.id LIMIT 1
    ) AS listing ON true
    ORDER BY stale.uid, stale.id
"""

_RENUMBER = """
    WITH input AS (
        SELECT * FROM unnest(%(ids)s::bigint[], %(uids)s::bigint[], %(upstream_ids)s::text[])
        AS row (id, uid, upstream_id)
    ), listing AS (
        UPDATE mailcache_listing AS listing SET uid = input.uid
        FROM input WHERE listing.account_id = %(account)s AND listing.remote_id = input.id
    )
    UPDATE mailcache_remote AS remote
    SET uidvalidity = %(uidvalidity)s, uid = input.uid,
        upstream_id = COALESCE(NULLIF(input.upstream_id, ''), remote.upstream_id)
    FROM input WHERE remote.account_id = %(account)s AND remote.id = input.id
"""


@transaction.atomic
def relink_messages(
    *,
    fence: Fence,
    mailbox_id: int,
    uidvalidity: int,
    traits: Mapping[int, Traits],
    flags: Mapping[int, FlagSet] | None = None,
    settlements: int = 0,
) -> int:
    """Give messages known under an earlier UIDVALIDITY the numbers that they have now; returns how many.

    ``traits`` and, where they were asked for, ``flags`` tell of upstream messages by UID. Nothing changes for clients
    but flags: what was not found stays under its old number, for more rows to match until
    ``remove_other_uidvalidities``. Messages that clients have taken away here, and that replay has not yet taken away
    there, are among them: what is to be done to them goes on.
    """
    leases.check(fence)
    where: dict[str, Any] = {"account": fence.account_id, "mailbox": mailbox_id, "uidvalidity": uidvalidity}
    if not traits or not fetch_all(_IS_RENUMBERED, where):
        return 0
    known = {uid for (uid,) in fetch_all(_KNOWN, {**where, "uids": list(traits)})}
    uids = sorted(traits.keys() - known)
    found = _find(where, {uid: traits[uid] for uid in uids})
    parameters = {
        **where,
        "ids": list(found.values()),
        "uids": list(found),
        "upstream_ids": [traits[uid].upstream_id for uid in found],
    }
    execute(_RENUMBER, parameters)
    if flags is not None:
        apply_upstream_flags(
            fence=fence,
            mailbox_id=mailbox_id,
            uidvalidity=uidvalidity,
            flags={uid: flags[uid] for uid in found},
            settlements=settlements,
        )
    return len(found)


def _find(where: dict[str, Any], new: Mapping[int, Traits]) -> dict[int, int]:
    """Return the row id of a Remote by the UID that its message has now."""
    parameters = {
        **where,
        "dates": [traits.internal_date for traits in new.values()],
        "upstream_ids": [traits.upstream_id for traits in new.values() if traits.upstream_id],
        "message_ids": [traits.message_id for traits in new.values() if traits.message_id],
        "settled": MutationState.SETTLED.value,
    }
    parameters["emailids"] = [emailid_of(upstream_id) for upstream_id in parameters["upstream_ids"]]
    stale = fetch_all(_STALE, parameters)
    uids = list(new)
    pairs = pair(list(new.values()), [Traits(*row[1:]) for row in stale])
    return {uids[index]: stale[old][0] for index, old in pairs.items()}
