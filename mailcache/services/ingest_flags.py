"""Ingest of flags as the upstream has them now."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, NamedTuple

from django.db import transaction

from mailcache.flags import FlagDelta, FlagSet
from mailcache.journal import LockedMailbox
from mailcache.merge import merged_flags
from mailcache.models import CREATORS, MutationState
from mailcache.services import leases
from mailcache.services.label_places import is_mark_local
from mailcache.services.leases import Fence
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.message_flags import FlagChange, change_flags, pending_deltas
from mailcache.services.rows import execute, fetch_all, keyword_column

# A message that is yet to be copied may show bytes that are only at its source: the source's flags are not its own.
_READ = """
    SELECT remote.id, remote.uid, remote.flags, remote.keywords,
           message.id, message.mailbox_id, message.uid, message.flags, message.keywords
    FROM mailcache_remote AS remote
    JOIN mailcache_message AS message ON message.remote_id = remote.id
    WHERE remote.account_id = %(account)s AND remote.mailbox_id = %(mailbox)s
      AND remote.uidvalidity = %(uidvalidity)s AND remote.uid = ANY(%(uids)s)
      AND (message.mailbox_id = remote.mailbox_id OR NOT EXISTS (
          SELECT 1 FROM mailcache_mutation AS creator
          WHERE creator.message_id = message.id AND creator.kind = ANY(%(creators)s) AND creator.state <> %(settled)s
      ))
"""

_AGREE = """
    UPDATE mailcache_remote AS remote
    SET flags = input.flags, keywords = string_to_array(input.keywords, ' ')
    FROM unnest(%(ids)s::bigint[], %(flags)s::smallint[], %(keywords)s::text[]) AS input (id, flags, keywords)
    WHERE remote.id = input.id AND remote.account_id = %(account)s
"""


class _Row(NamedTuple):
    remote_id: int
    upstream_uid: int
    agreed: FlagSet
    message_id: int
    mailbox_id: int
    uid: int
    shown: FlagSet


@transaction.atomic
def apply_upstream_flags(
    *, fence: Fence, mailbox_id: int, uidvalidity: int, flags: Mapping[int, FlagSet], settlements: int = 0
) -> int:
    """Take over flags by upstream UID; returns how many messages changed for clients, each once.

    The upstream's flags become the ones last agreed. What clients changed and replay has not settled lies on top of
    them, so a change made here is never undone by a read of the upstream. All mailboxes that show a message change in
    this transaction. ``settlements`` is what the account had counted before these flags were read.
    """
    leases.check(fence)
    return with_locks([mailbox_id], partial(_apply, mailbox_id, uidvalidity, flags, settlements))


def _apply(mailbox_id: int, uidvalidity: int, flags: Mapping[int, FlagSet], settlements: int, locks: Locks) -> int:
    locked = locks[mailbox_id]
    rows = _read(locked, uidvalidity, flags.keys())
    owners = {row.message_id: row.remote_id for row in rows}
    overlay = pending_deltas(account_id=locked.account_id, owners=owners, settlements=settlements)
    is_marked_here = is_mark_local(locked)
    changes: dict[int, FlagChange] = {}
    changed: set[int] = set()
    for row in rows:
        now = merged_flags(flags[row.upstream_uid], overlay.get(row.remote_id, FlagDelta()))
        if is_marked_here:
            now = now.marked_like(row.shown)
        if now != row.shown:
            changes[row.message_id] = FlagChange(row.message_id, row.mailbox_id, row.uid, row.shown, now)
            changed.add(row.remote_id)
    locks.require({change.mailbox_id for change in changes.values()})
    _agree(locked, {row.remote_id: flags[row.upstream_uid] for row in rows if row.agreed != flags[row.upstream_uid]})
    change_flags(locks, changes.values())
    return len(changed)


def _read(locked: LockedMailbox, uidvalidity: int, uids: Collection[int]) -> list[_Row]:
    parameters: dict[str, Any] = {
        "account": locked.account_id,
        "mailbox": locked.id,
        "uidvalidity": uidvalidity,
        "uids": list(uids),
        "creators": [kind.value for kind in CREATORS],
        "settled": MutationState.SETTLED.value,
    }
    return [
        _Row(row[0], row[1], FlagSet.of(row[2], row[3]), row[4], row[5], row[6], FlagSet.of(row[7], row[8]))
        for row in fetch_all(_READ, parameters)
    ]


def _agree(locked: LockedMailbox, flags: Mapping[int, FlagSet]) -> None:
    if flags:
        parameters = {
            "account": locked.account_id,
            "ids": list(flags),
            "flags": [int(value.system) for value in flags.values()],
            "keywords": keyword_column(flags.values()),
        }
        execute(_AGREE, parameters)
