"""An account between two ways of being mirrored: by labels, and mailbox by mailbox while All Mail is hidden from IMAP.

Either way every message keeps its row, and with it UID and bytes. Into labels: the message of a label mailbox takes
the Remote of the one with the same X-GM-MSGID in All Mail. Out of labels: it gets a Remote of its own, as if its
mailbox had just been renumbered, which the next comparison relinks by X-GM-MSGID.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from django.db import transaction

from mailcache.flags import FlagDelta, FlagSet
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.message_flags import FlagChange, pending_deltas, write_message_flags
from mailcache.services.rows import execute, fetch_all

NO_NUMBERING = 0
"""The UIDVALIDITY of Remotes whose UIDs mean nothing upstream."""

_HAVE_OWN = """
    SELECT mailbox.id FROM unnest(%(mailboxes)s::bigint[]) AS mailbox (id)
    WHERE EXISTS (SELECT 1 FROM mailcache_remote AS remote
                  WHERE remote.account_id = %(account)s AND remote.mailbox_id = mailbox.id)
"""

_CANDIDATES = """
    SELECT DISTINCT ON (target.id, input.mailbox_id)
           target.id, input.mailbox_id, own.id, message.id, message.uid, message.flags, message.keywords,
           source.flags, source.keywords
    FROM unnest(%(remotes)s::bigint[], %(mailboxes)s::bigint[]) AS input (remote_id, mailbox_id)
    JOIN mailcache_remote AS target ON target.id = input.remote_id AND target.upstream_id <> ''
    JOIN mailcache_message AS source ON source.remote_id = target.id AND source.mailbox_id = %(source)s
    JOIN mailcache_remote AS own
      ON own.account_id = %(account)s AND own.mailbox_id = input.mailbox_id AND own.upstream_id = target.upstream_id
    JOIN mailcache_message AS message ON message.remote_id = own.id AND message.mailbox_id = input.mailbox_id
    WHERE target.account_id = %(account)s
    ORDER BY target.id, input.mailbox_id, message.uid
"""

_ADOPT = """
    WITH input AS (
        SELECT * FROM unnest(%(messages)s::bigint[], %(remotes)s::bigint[], %(own)s::bigint[])
        AS row (message_id, remote_id, own_id)
    ), listing AS (
        DELETE FROM mailcache_listing USING input
        WHERE mailcache_listing.account_id = %(account)s AND mailcache_listing.remote_id = input.own_id
    )
    UPDATE mailcache_message AS message SET remote_id = input.remote_id
    FROM input WHERE message.account_id = %(account)s AND message.id = input.message_id
"""

_DELETE_OWN = "DELETE FROM mailcache_remote WHERE account_id = %(account)s AND id = ANY(%(own)s)"

# Bytes that one of them has are all of theirs, as far as the size that was served is theirs.
_SHARE_CONTENT = """
    UPDATE mailcache_message AS message SET content_id = content.id
    FROM mailcache_message AS other JOIN mailcache_content AS content ON content.id = other.content_id
    WHERE message.account_id = %(account)s AND message.remote_id = ANY(%(remotes)s) AND message.content_id IS NULL
      AND other.account_id = %(account)s AND other.remote_id = message.remote_id AND content.size = message.size
"""

_FETCHED = """
    DELETE FROM mailcache_listing AS listing
    WHERE listing.account_id = %(account)s AND listing.remote_id = ANY(%(remotes)s)
      AND NOT EXISTS (SELECT 1 FROM mailcache_message AS message
                      WHERE message.remote_id = listing.remote_id AND message.content_id IS NULL)
"""

_SPLIT = """
    WITH shared AS (
        SELECT message.id, message.uid, message.size, message.content_id IS NULL AS waits,
               remote.upstream_id, remote.labels, remote.flags, remote.keywords
        FROM mailcache_message AS message JOIN mailcache_remote AS remote ON remote.id = message.remote_id
        WHERE message.account_id = %(account)s AND message.mailbox_id = %(mailbox)s
          AND remote.mailbox_id <> %(mailbox)s
        ORDER BY message.uid LIMIT %(limit)s
    ), own AS (
        INSERT INTO mailcache_remote (account_id, mailbox_id, uidvalidity, uid, upstream_id, labels, flags, keywords)
        SELECT %(account)s, %(mailbox)s, %(uidvalidity)s, uid, upstream_id, labels, flags, keywords FROM shared
        RETURNING id, uid
    ), listing AS (
        INSERT INTO mailcache_listing (account_id, mailbox_id, remote_id, uid, size, attempts, parked_reason)
        SELECT %(account)s, %(mailbox)s, own.id, uid, size, 0, '' FROM own JOIN shared USING (uid) WHERE waits
    )
    UPDATE mailcache_message AS message SET remote_id = own.id
    FROM own JOIN shared USING (uid) WHERE message.account_id = %(account)s AND message.id = shared.id
"""


class Adopted(NamedTuple):
    """What was found here already, as pairs of Remote and mailbox, and whose flags changed by that."""

    pairs: Collection[tuple[int, int]] = ()
    changes: Sequence[FlagChange] = ()


class _Candidate(NamedTuple):
    remote_id: int
    mailbox_id: int
    own_id: int
    message_id: int
    uid: int
    before: FlagSet
    source: FlagSet


def adopt_messages(locks: Locks, source_id: int, wanted: Collection[tuple[int, int]]) -> Adopted:
    """Let messages that label mailboxes had of their own share the Remote of the same message of the source.

    ``wanted`` are pairs of the source's Remote and a locked mailbox that should show it. In the caller's transaction,
    which writes the journal.
    """
    account_id = locks[source_id].account_id
    mailboxes = list({mailbox_id for _, mailbox_id in wanted})
    have_own = {mailbox for (mailbox,) in fetch_all(_HAVE_OWN, {"account": account_id, "mailboxes": mailboxes})}
    pairs = [pair for pair in wanted if pair[1] in have_own]
    if not pairs:
        return Adopted()
    columns = {"remotes": [remote_id for remote_id, _ in pairs], "mailboxes": [mailbox_id for _, mailbox_id in pairs]}
    rows = fetch_all(_CANDIDATES, {"account": account_id, "source": source_id, **columns})
    found = [
        _Candidate(row[0], row[1], row[2], row[3], row[4], FlagSet.of(row[5], row[6]), FlagSet.of(row[7], row[8]))
        for row in rows
    ]
    if not found:
        return Adopted()
    _relink(account_id, found)
    return Adopted({(row.remote_id, row.mailbox_id) for row in found}, _take_flags(locks, account_id, found))


def _relink(account_id: int, found: Sequence[_Candidate]) -> None:
    parameters = {
        "account": account_id,
        "messages": [row.message_id for row in found],
        "remotes": [row.remote_id for row in found],
        "own": [row.own_id for row in found],
    }
    for statement in (_ADOPT, _DELETE_OWN, _SHARE_CONTENT, _FETCHED):
        execute(statement, parameters)


def _take_flags(locks: Locks, account_id: int, found: Sequence[_Candidate]) -> list[FlagChange]:
    """Give them the flags of the source's message, under what clients changed and replay has not settled."""
    overlay = pending_deltas(account_id=account_id, owners={row.message_id: row.message_id for row in found})
    changes = []
    for row in found:
        after = overlay.get(row.message_id, FlagDelta()).apply(row.source).marked_like(row.before)
        if after != row.before:
            changes.append(FlagChange(row.message_id, row.mailbox_id, row.uid, row.before, after))
    for mailbox_id in {change.mailbox_id for change in changes}:
        flags = {change.message_id: change.after for change in changes if change.mailbox_id == mailbox_id}
        write_message_flags(account_id=account_id, modseq=locks[mailbox_id].modseq, flags=flags)
    return changes


@transaction.atomic
def split_off(*, fence: Fence, mailbox_id: int, limit: int) -> int:
    """Give at most ``limit`` messages of a label mailbox Remotes of their own; returns how many needed one."""
    leases.check(fence)
    parameters = {"account": fence.account_id, "mailbox": mailbox_id, "uidvalidity": NO_NUMBERING, "limit": limit}
    return with_locks([mailbox_id], lambda locks: execute(_SPLIT, parameters))
