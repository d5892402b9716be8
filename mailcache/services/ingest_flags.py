"""Ingest of flags as the upstream has them now."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from django.db import transaction

from mailcache.flags import FlagDelta, FlagSet
from mailcache.journal import LockedMailbox, lock_mailbox, write_change
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.services.message_flags import pending_deltas, write_message_flags
from mailcache.services.rows import count_changed, execute, fetch_all, keyword_column
from mailcache.wire.number_set import NumberSet

_READ = """
    SELECT remote.id, remote.uid, remote.flags, remote.keywords,
           message.id, message.uid, message.flags, message.keywords
    FROM mailcache_remote AS remote
    JOIN mailcache_message AS message ON message.remote_id = remote.id AND message.mailbox_id = remote.mailbox_id
    WHERE remote.account_id = %(account)s AND remote.mailbox_id = %(mailbox)s
      AND remote.uidvalidity = %(uidvalidity)s AND remote.uid = ANY(%(uids)s)
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
    uid: int
    shown: FlagSet


@transaction.atomic
def apply_upstream_flags(*, fence: Fence, mailbox_id: int, uidvalidity: int, flags: Mapping[int, FlagSet]) -> int:
    """Take over flags by upstream UID; returns how many messages changed for clients.

    The upstream's flags become the ones last agreed. What clients changed and replay has not settled lies on top of
    them, so a change made here is never undone by a read of the upstream.
    """
    leases.check(fence)
    locked = lock_mailbox(mailbox_id)
    rows = _read(locked, uidvalidity, flags.keys())
    _agree(locked, {row.remote_id: flags[row.upstream_uid] for row in rows if row.agreed != flags[row.upstream_uid]})
    overlay = pending_deltas(account_id=locked.account_id, message_ids=[row.message_id for row in rows])
    changes: dict[int, tuple[FlagSet, FlagSet]] = {}
    written: dict[int, FlagSet] = {}
    for row in rows:
        now = overlay.get(row.message_id, FlagDelta()).apply(flags[row.upstream_uid])
        if now != row.shown:
            changes[row.uid] = (row.shown, now)
            written[row.message_id] = now
    if not changes:
        return 0
    write_message_flags(account_id=locked.account_id, modseq=locked.modseq, flags=written)
    write_change(locked, changed=NumberSet.from_numbers(changes), counters=count_changed(changes.values()))
    return len(changes)


def _read(locked: LockedMailbox, uidvalidity: int, uids: Collection[int]) -> list[_Row]:
    parameters: dict[str, Any] = {
        "account": locked.account_id,
        "mailbox": locked.id,
        "uidvalidity": uidvalidity,
        "uids": list(uids),
    }
    return [
        _Row(remote_id, upstream_uid, FlagSet.of(agreed, agreed_keywords), message_id, uid, FlagSet.of(shown, keywords))
        for remote_id, upstream_uid, agreed, agreed_keywords, message_id, uid, shown, keywords in fetch_all(
            _READ, parameters
        )
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
