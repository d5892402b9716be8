"""Mailboxes as clients use them."""

from __future__ import annotations

from django.db import connection, transaction

from mailcache.errors import NoSuchMailbox

# The old value of a row can be returned only through a second look at it (PostgreSQL 18 has RETURNING OLD).
_TAKE_RECENT = """
    UPDATE mailcache_mailbox AS mailbox SET recent_uid = mailbox.uidnext
    FROM (
        SELECT mailbox.id, mailbox.recent_uid
        FROM mailcache_mailbox AS mailbox JOIN mailcache_account AS account ON account.id = mailbox.account_id
        WHERE mailbox.id = %(mailbox)s AND account.user_id = %(user)s
        FOR NO KEY UPDATE OF mailbox
    ) AS before
    WHERE mailbox.id = before.id
    RETURNING before.recent_uid
"""


@transaction.atomic
def take_recent(*, user_id: int, mailbox_id: int) -> int:
    """Make a session the one to which new messages are ``\\Recent``; returns the first UID that no session was given.

    Raises ``NoSuchMailbox`` when the mailbox does not exist or is not this user's.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_RECENT, {"mailbox": mailbox_id, "user": user_id})
        row = cursor.fetchone()
    if row is None:
        raise NoSuchMailbox("no such mailbox")
    return int(row[0])
