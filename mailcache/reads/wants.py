"""How the messages fare that a FETCH waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mailcache.reads.mailboxes import Scope
from mailcache.reads.pool import Pool

_WANTS = """
    SELECT message.uid, listing.wanted_at IS NOT NULL,
           CASE WHEN message.content_id IS NOT NULL THEN ''
                WHEN listing.id IS NULL THEN 'its bytes are not upstream'
                WHEN listing.wanted_at IS NULL AND listing.retry_at > clock_timestamp() THEN listing.parked_reason
                ELSE '' END
    FROM mailcache_message AS message
    JOIN mailcache_account AS account ON account.id = message.account_id
    LEFT JOIN mailcache_listing AS listing
         ON listing.account_id = message.account_id AND listing.remote_id = message.remote_id
    WHERE account.user_id = %(user)s AND message.mailbox_id = %(mailbox)s AND message.uid = ANY(%(uids)s)
      AND message.account_id = (SELECT account_id FROM mailcache_mailbox WHERE id = %(mailbox)s)
"""


class Want(NamedTuple):
    """One message: whether it is marked as wanted, and why it is not to be had now, if so."""

    uid: int
    is_marked: bool
    trouble: str


async def load_wants(pool: Pool, scope: Scope, mailbox_id: int, uids: Sequence[int]) -> dict[int, Want]:
    """Return how messages fare, by UID; those that are gone are left out."""
    parameters: dict[str, Any] = {"user": scope.user_id, "mailbox": mailbox_id, "uids": list(uids)}
    async with pool.connection() as connection:
        cursor = await connection.execute(_WANTS, parameters)
        return {row[0]: Want(*row) for row in await cursor.fetchall()}
