"""Giving messages the Content that holds their bytes, in every mailbox that shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import NamedTuple

from mailcache.journal import CounterDelta, LockedMailbox, write_change
from mailcache.models import TRANSFERS, MutationKind, MutationState
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.rows import execute, fetch_all
from mailcache.wire.number_set import NumberSet

# Also those that have a Content by their likeness to another message: their bytes are what decides.
#
# Nothing here is left to statistics, which know no account that is new and take Listing, a queue, for empty: a planner
# that believes them reads all that the account has for each batch. The sub-select hides from it which account this is,
# LIMIT makes it look up one row at a time.
_WAITING = """
    SELECT message.mailbox_id, message.id, message.remote_id, message.uid, message.size, message.content_id,
           listing.size
    FROM mailcache_message AS message
    CROSS JOIN LATERAL (
        SELECT size FROM mailcache_listing
        WHERE account_id = message.account_id AND remote_id = message.remote_id LIMIT 1
    ) AS listing
    WHERE message.account_id = (SELECT %(account)s::bigint) AND message.remote_id = ANY(%(remotes)s)
    ORDER BY message.mailbox_id, message.uid
"""

_LINK = """
    UPDATE mailcache_message AS message
    SET content_id = input.content_id, uid = input.uid, size = input.size,
        modseq = CASE WHEN message.uid = input.uid THEN message.modseq ELSE %(modseq)s END,
        emailid = CASE WHEN message.content_id <> input.content_id AND message.emailid NOT LIKE 'u%%'
                       THEN 'i' || message.remote_id ELSE message.emailid END
    FROM unnest(%(messages)s::bigint[], %(contents)s::bigint[], %(uids)s::bigint[], %(sizes)s::bigint[])
         AS input (id, content_id, uid, size)
    WHERE message.id = input.id AND message.account_id = %(account)s
"""

# What is queued about a message goes by its bytes, should it be gone from where it is.
_NAME_BYTES = """
    WITH input AS (
        SELECT * FROM unnest(%(messages)s::bigint[], %(remotes)s::bigint[], %(contents)s::bigint[])
            AS row (message_id, remote_id, content_id)
    )
    UPDATE mailcache_mutation AS mutation SET content_id = transfer.content_id
    FROM (
        SELECT found.id, input.content_id
        FROM input CROSS JOIN LATERAL (
            SELECT id, kind, state, content_id FROM mailcache_mutation WHERE message_id = input.message_id
            UNION ALL
            SELECT id, kind, state, content_id FROM mailcache_mutation
            WHERE remote_id = input.remote_id AND message_id IS NULL
        ) AS found
        WHERE found.kind = ANY(%(transfers)s) AND found.state <> %(settled)s AND found.content_id IS NULL
    ) AS transfer
    WHERE mutation.id = transfer.id AND mutation.account_id = %(account)s
"""

# A copy that is yet to be made pointed at its source for its bytes; so did what it will be shown as, by its label.
_PART_FROM_SOURCE = """
    UPDATE mailcache_message AS message SET remote_id = NULL
    WHERE message.account_id = %(account)s AND message.id = ANY(%(messages)s) AND EXISTS (
        SELECT 1 FROM mailcache_mutation AS creator
        WHERE creator.message_id = message.id AND creator.target_id = message.mailbox_id
          AND (creator.kind = ANY(%(transfers)s) OR (creator.kind = %(label)s AND creator.depends_on_id IS NOT NULL))
          AND creator.state <> %(settled)s
    )
"""

# What the message is known by, kept with its bytes for when it turns up elsewhere. New bytes came with it already.
_REMEMBER = """
    UPDATE mailcache_content AS content
    SET emailid = message.emailid, internal_date = message.internal_date,
        upstream_size = NULLIF(input.size, content.size)
    FROM unnest(%(messages)s::bigint[], %(upstream_sizes)s::bigint[]) AS input (message_id, size)
    JOIN mailcache_message AS message ON message.id = input.message_id
    WHERE content.id = message.content_id AND content.account_id = (SELECT %(account)s::bigint)
      AND (content.emailid, content.internal_date, content.upstream_size)
          IS DISTINCT FROM (message.emailid, message.internal_date, NULLIF(input.size, content.size))
"""


class Body(NamedTuple):
    """The Content of a message, how large it is, and whether what it is known by was taken from this message."""

    content_id: int
    size: int
    is_origin: bool = False


class Linked(NamedTuple):
    """How many Remotes still had a message, and how many messages got a new UID for their wrong size."""

    remotes: int
    resized: int


class _Waiting(NamedTuple):
    mailbox_id: int
    message_id: int
    remote_id: int
    uid: int
    size: int
    content_id: int | None
    upstream_size: int


def link_bodies(*, account_id: int, mailbox_id: int, bodies: Mapping[int, Body]) -> Linked:
    """Link the messages of Remotes that are still listed to their bodies, in the caller's transaction.

    ``mailbox_id`` is the mailbox of the Remotes; raises ``NoSuchMailbox`` when it is gone.
    """
    return with_locks([mailbox_id], partial(_link_all, account_id, bodies))


def _link_all(account_id: int, bodies: Mapping[int, Body], locks: Locks) -> Linked:
    parameters = {"account": account_id, "remotes": list(bodies)}
    waiting = [_Waiting(*row) for row in fetch_all(_WAITING, parameters)]
    locks.require({row.mailbox_id for row in waiting})
    resized = 0
    for shown_in, group in groupby(waiting, key=lambda row: row.mailbox_id):
        resized += _link(locks[shown_in], list(group), bodies)
    _name_bytes(account_id, waiting, bodies)
    _remember(account_id, [row for row in waiting if row.content_id is not None or not bodies[row.remote_id].is_origin])
    return Linked(len({row.remote_id for row in waiting}), resized)


def _name_bytes(account_id: int, rows: Sequence[_Waiting], bodies: Mapping[int, Body]) -> None:
    parameters = {
        "account": account_id,
        "messages": [row.message_id for row in rows],
        "remotes": [row.remote_id for row in rows],
        "contents": [bodies[row.remote_id].content_id for row in rows],
        "transfers": [kind.value for kind in TRANSFERS],
        "label": MutationKind.LABEL.value,
        "settled": MutationState.SETTLED.value,
    }
    if rows and execute(_NAME_BYTES, parameters):
        execute(_PART_FROM_SOURCE, parameters)


def _remember(account_id: int, rows: Sequence[_Waiting]) -> None:
    if rows:
        remembered = {
            "account": account_id,
            "messages": [row.message_id for row in rows],
            "upstream_sizes": [row.upstream_size for row in rows],
        }
        execute(_REMEMBER, remembered)


def _link(locked: LockedMailbox, waiting: Sequence[_Waiting], bodies: Mapping[int, Body]) -> int:
    """Link the messages of one mailbox; returns how many of them had a wrong size."""
    new_uids: dict[int, int] = {}
    for row in waiting:
        if _is_other_than_served(row, bodies[row.remote_id]):
            new_uids[row.uid] = locked.uidnext + len(new_uids)
    sizes = [bodies[row.remote_id].size for row in waiting]
    parameters = {
        "account": locked.account_id,
        "modseq": locked.modseq,
        "messages": [row.message_id for row in waiting],
        "contents": [bodies[row.remote_id].content_id for row in waiting],
        "uids": [new_uids.get(row.uid, row.uid) for row in waiting],
        "sizes": sizes,
    }
    execute(_LINK, parameters)
    if new_uids:
        _tell(locked, new_uids, sum(sizes) - sum(row.size for row in waiting))
    return sum(row.size != bodies[row.remote_id].size for row in waiting)


def _is_other_than_served(row: _Waiting, body: Body) -> bool:
    return row.size != body.size or row.content_id not in (None, body.content_id)


def _tell(locked: LockedMailbox, new_uids: Mapping[int, int], bytes_added: int) -> None:
    write_change(
        locked,
        appeared=NumberSet.from_numbers(new_uids.values()),
        expunged=NumberSet.from_numbers(new_uids),
        uidnext=locked.uidnext + len(new_uids),
        counters=CounterDelta(bytes=bytes_added),
    )
