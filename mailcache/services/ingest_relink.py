"""Relinking: a mailbox that the upstream renumbered (another UIDVALIDITY) keeps its messages, their UIDs and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from mailcache.flags import FlagSet
from mailcache.identity import Traits, pair
from mailcache.models import MutationKind, MutationState
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

_STALE = """
    SELECT remote.id, COALESCE(content.upstream_size, message.size), message.internal_date, remote.upstream_id,
           COALESCE(content.message_id, NULLIF(listing.message_id, '')), remote.uid
    FROM mailcache_remote AS remote
    JOIN mailcache_message AS message ON message.remote_id = remote.id AND message.mailbox_id = remote.mailbox_id
    LEFT JOIN mailcache_content AS content ON content.id = message.content_id
    LEFT JOIN mailcache_listing AS listing ON listing.remote_id = remote.id AND listing.account_id = remote.account_id
    WHERE remote.account_id = %(account)s AND remote.mailbox_id = %(mailbox)s
      AND remote.uidvalidity <> %(uidvalidity)s
      AND (message.internal_date = ANY(%(dates)s) OR remote.upstream_id = ANY(%(upstream_ids)s)
           OR COALESCE(content.message_id, listing.message_id) = ANY(%(message_ids)s))
"""

# What clients have moved or expunged and the upstream still has is known by what was noted of it then.
_TAKEN_AWAY = """
    SELECT DISTINCT ON (remote.id)
           remote.id, COALESCE(content.upstream_size, (mutation.arguments ->> 'size')::bigint),
           (mutation.arguments ->> 'internal_date')::timestamptz, remote.upstream_id,
           COALESCE(content.message_id, NULLIF(listing.message_id, '')), remote.uid
    FROM mailcache_mutation AS mutation
    JOIN mailcache_remote AS remote ON remote.id = mutation.remote_id AND remote.account_id = mutation.account_id
    LEFT JOIN mailcache_content AS content ON content.id = mutation.content_id
    LEFT JOIN mailcache_listing AS listing ON listing.remote_id = remote.id AND listing.account_id = remote.account_id
    WHERE mutation.account_id = %(account)s AND mutation.kind = ANY(%(takers)s) AND mutation.state <> %(settled)s
      AND mutation.arguments ->> 'size' IS NOT NULL
      AND remote.mailbox_id = %(mailbox)s AND remote.uidvalidity <> %(uidvalidity)s
      AND NOT EXISTS (SELECT 1 FROM mailcache_message AS message
                      WHERE message.remote_id = remote.id AND message.mailbox_id = remote.mailbox_id)
    ORDER BY remote.id, mutation.id
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
        "takers": [kind.value for kind in (MutationKind.COPY, MutationKind.MOVE, MutationKind.EXPUNGE)],
        "settled": MutationState.SETTLED.value,
        "dates": [traits.internal_date for traits in new.values()],
        "upstream_ids": [traits.upstream_id for traits in new.values() if traits.upstream_id],
        "message_ids": [traits.message_id for traits in new.values() if traits.message_id],
    }
    stale = fetch_all(_STALE, parameters) + fetch_all(_TAKEN_AWAY, parameters)
    stale.sort(key=lambda row: (row[5], row[0]))
    uids = list(new)
    pairs = pair(list(new.values()), [Traits(*row[1:5]) for row in stale])
    return {uids[index]: stale[old][0] for index, old in pairs.items()}
