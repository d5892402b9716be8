"""Repair of a mailbox whose own tables contradict each other: found by the audit, never expected."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from mailcache.flags import ALL_SYSTEM_FLAGS, FlagSet, SystemFlag
from mailcache.journal import lock_mailbox
from mailcache.models import Mailbox
from mailcache.services import leases
from mailcache.services.ingest_flags import apply_upstream_flags
from mailcache.services.label_places import is_mark_local
from mailcache.services.leases import Fence
from mailcache.services.rows import CHUNK_ROWS, fetch_all

# A change that replay has not settled is what may stand between the two; such messages are left alone.
_DIFFERING = """
    SELECT remote.uid, remote.flags, remote.keywords
    FROM mailcache_remote AS remote
    JOIN mailcache_message AS message ON message.remote_id = remote.id AND message.mailbox_id = remote.mailbox_id
    WHERE remote.account_id = %(account)s AND remote.mailbox_id = %(mailbox)s AND remote.uidvalidity = %(uidvalidity)s
      AND ((message.flags # remote.flags) & %(compared)s <> 0 OR message.keywords <> remote.keywords)
      AND NOT EXISTS (
          SELECT FROM mailcache_mutation AS mutation
          WHERE mutation.account_id = %(account)s AND mutation.message_id = message.id
      )
    LIMIT %(most)s
"""

# Without its Remote, a message that is upstream is new to the next comparison.
_FORGET = """
    WITH lost AS (
        SELECT remote.id FROM mailcache_remote AS remote
        WHERE remote.account_id = %(account)s AND remote.mailbox_id = %(mailbox)s
          AND remote.uidvalidity = %(uidvalidity)s
          AND NOT EXISTS (
              SELECT FROM mailcache_message AS message
              WHERE message.account_id = %(account)s AND message.remote_id = remote.id
          )
          AND NOT EXISTS (
              SELECT FROM mailcache_mutation AS mutation
              WHERE mutation.account_id = %(account)s AND mutation.mailbox_id = %(mailbox)s
          )
        LIMIT %(most)s
    ), listing AS (
        DELETE FROM mailcache_listing WHERE account_id = %(account)s AND remote_id IN (SELECT id FROM lost)
    )
    DELETE FROM mailcache_remote WHERE account_id = %(account)s AND id IN (SELECT id FROM lost) RETURNING id
"""

_MISCOUNTED = """
    SELECT counted.messages, counted.unseen, counted.deleted, counted.bytes
    FROM mailcache_mailbox AS mailbox, (
        SELECT count(*) AS messages, count(*) FILTER (WHERE flags & %(seen)s = 0) AS unseen,
               count(*) FILTER (WHERE flags & %(deleted)s <> 0) AS deleted, coalesce(sum(size), 0)::bigint AS bytes
        FROM mailcache_message WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s
    ) AS counted
    WHERE mailbox.id = %(mailbox)s
      AND (mailbox.messages, mailbox.unseen, mailbox.deleted, mailbox.bytes)
          <> (counted.messages, counted.unseen, counted.deleted, counted.bytes)
"""


def repair_mailbox(*, fence: Fence, mailbox_id: int, uidvalidity: int) -> int:
    """Make what clients see agree with what was last agreed with the upstream; returns how many messages did not.

    Messages whose flags differ get those last agreed. Of messages that no client can see nothing is kept, so that a
    comparison of all UIDs finds them again. Wrong counters of the mailbox count as one.
    """
    where = {
        "account": fence.account_id,
        "mailbox": mailbox_id,
        "uidvalidity": uidvalidity,
        "most": CHUNK_ROWS,
        "compared": _compared_flags(mailbox_id),
    }
    # First: counters that are wrong could forbid every further change of the mailbox.
    repaired = _recount(fence, where)
    while found := _repair_flags(fence, where) + _forget_lost(fence, where):
        repaired += found
    return repaired


def _compared_flags(mailbox_id: int) -> int:
    """Return which system flags are the upstream's: not ``\\Deleted`` in All Mail, where mailboxes are labels."""
    with transaction.atomic():
        locked = lock_mailbox(mailbox_id)
    return int(ALL_SYSTEM_FLAGS & ~SystemFlag.DELETED if is_mark_local(locked) else ALL_SYSTEM_FLAGS)


def _recount(fence: Fence, where: dict[str, Any]) -> int:
    parameters = {**where, "seen": int(SystemFlag.SEEN), "deleted": int(SystemFlag.DELETED)}
    if not fetch_all(_MISCOUNTED, parameters):
        return 0
    with transaction.atomic():
        leases.check(fence)
        lock_mailbox(where["mailbox"])
        for messages, unseen, deleted, size in fetch_all(_MISCOUNTED, parameters):
            Mailbox.objects.filter(account_id=fence.account_id, pk=where["mailbox"]).update(
                messages=messages, unseen=unseen, deleted=deleted, bytes=size
            )
    return 1


@transaction.atomic
def _repair_flags(fence: Fence, where: dict[str, Any]) -> int:
    leases.check(fence)
    agreed = {uid: FlagSet.of(flags, keywords) for uid, flags, keywords in fetch_all(_DIFFERING, where)}
    if not agreed:
        return 0
    return apply_upstream_flags(
        fence=fence, mailbox_id=where["mailbox"], uidvalidity=where["uidvalidity"], flags=agreed
    )


@transaction.atomic
def _forget_lost(fence: Fence, where: dict[str, Any]) -> int:
    leases.check(fence)
    return len(fetch_all(_FORGET, where))
