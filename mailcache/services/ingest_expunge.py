"""Ingest of what is gone upstream."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import transaction

from mailcache.flags import FlagSet
from mailcache.journal import lock_mailbox, write_change
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.services.rows import count_expunged, execute, fetch_all
from mailcache.wire.number_set import NumberSet

_GONE = """
    SELECT id FROM mailcache_remote
    WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s
      AND uidvalidity = %(uidvalidity)s AND uid = ANY(%(uids)s)
"""

_STALE = """
    SELECT id FROM mailcache_remote
    WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s AND uidvalidity <> %(uidvalidity)s
    ORDER BY id LIMIT %(limit)s
"""

_MESSAGES = """
    DELETE FROM mailcache_message WHERE account_id = %(account)s AND remote_id = ANY(%(remotes)s)
    RETURNING id, uid, flags, size, content_id
"""

# What was recognised as a copy was moved: the message that it is a copy of is gone.
_MOVED = """
    DELETE FROM mailcache_listing AS listing USING mailcache_message AS message
    WHERE listing.account_id = %(account)s AND listing.remote_id = message.remote_id
      AND message.account_id = %(account)s AND message.content_id = ANY(%(contents)s)
"""

# Content stays: it may be another message's too, and the collector decides when its bytes may go.
_REST = """
    WITH mutation AS (
        DELETE FROM mailcache_mutation WHERE account_id = %(account)s AND message_id = ANY(%(messages)s)
    ), listing AS (
        DELETE FROM mailcache_listing WHERE account_id = %(account)s AND remote_id = ANY(%(remotes)s)
    )
    DELETE FROM mailcache_remote WHERE account_id = %(account)s AND id = ANY(%(remotes)s)
"""


@transaction.atomic
def remove_messages(*, fence: Fence, mailbox_id: int, uidvalidity: int, uids: Collection[int]) -> int:
    """Remove the messages that the upstream no longer has under these UIDs; returns how many were here."""
    leases.check(fence)
    parameters = {"mailbox": mailbox_id, "uidvalidity": uidvalidity, "uids": list(uids)}
    return _remove(mailbox_id, _GONE, parameters)


@transaction.atomic
def remove_other_uidvalidities(*, fence: Fence, mailbox_id: int, uidvalidity: int, limit: int = 500) -> int:
    """Remove at most ``limit`` messages known under an earlier UIDVALIDITY; returns how many went."""
    leases.check(fence)
    return _remove(mailbox_id, _STALE, {"mailbox": mailbox_id, "uidvalidity": uidvalidity, "limit": limit})


def _remove(mailbox_id: int, which: str, parameters: dict[str, Any]) -> int:
    locked = lock_mailbox(mailbox_id)
    remotes = [remote for (remote,) in fetch_all(which, {**parameters, "account": locked.account_id})]
    if not remotes:
        return 0
    gone = fetch_all(_MESSAGES, {"account": locked.account_id, "remotes": remotes})
    messages = [message_id for message_id, *_ in gone]
    execute(_REST, {"account": locked.account_id, "remotes": remotes, "messages": messages})
    contents = [content for *_, content in gone if content is not None]
    if contents:
        execute(_MOVED, {"account": locked.account_id, "contents": contents})
    if gone:
        write_change(
            locked,
            expunged=NumberSet.from_numbers(uid for _, uid, *_ in gone),
            counters=count_expunged(
                [FlagSet.of(flags) for _, _, flags, _, _ in gone], [size for _, _, _, size, _ in gone]
            ),
        )
    return len(remotes)
