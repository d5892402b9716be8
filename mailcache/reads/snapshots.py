"""What a snapshot of a mailbox is loaded from and kept current with: Mailbox, Message and Change, read consistently."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

from psycopg import AsyncConnection, IsolationLevel

from mailcache.reads.mailboxes import Scope
from mailcache.reads.pool import Pool
from mailcache.wire.number_set import NumberSet

_FETCH_ROWS = 4096

_MAILBOX = """
    SELECT mailbox.account_id, mailbox.uidvalidity, mailbox.uidnext, mailbox.highestmodseq, mailbox.journal_floor
    FROM mailcache_mailbox AS mailbox JOIN mailcache_account AS account ON account.id = mailbox.account_id
    WHERE mailbox.id = %(mailbox)s AND account.user_id = %(user)s AND mailbox.deleted_at IS NULL
"""
_MESSAGES = """
    SELECT uid, flags, array_to_string(keywords, ' '), modseq, size, extract(epoch FROM internal_date)::bigint,
           internal_zone
    FROM mailcache_message
    WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s
"""
_ALL = _MESSAGES + " ORDER BY uid"
_SOME = _MESSAGES + " AND uid = ANY(%(uids)s) ORDER BY uid"
_CHANGES = """
    SELECT modseq, appeared, changed, expunged FROM mailcache_change
    WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s AND modseq > %(since)s ORDER BY modseq
"""
_HIGHEST = "SELECT id, highestmodseq FROM mailcache_mailbox WHERE id = ANY(%(mailboxes)s)"

Connection = AsyncConnection[tuple[Any, ...]]

# (uid, flags, keywords joined by spaces, modseq, size, seconds since the epoch, zone in minutes)
MessageRow = tuple[int, int, str, int, int, int, int]


@dataclass(frozen=True, slots=True)
class LoadedMailbox:
    """A whole mailbox at one moment."""

    uidvalidity: int
    uidnext: int
    highestmodseq: int
    messages: Sequence[MessageRow]


@dataclass(frozen=True, slots=True)
class LoadedChanges:
    """What happened to a mailbox since a modseq: rows that appeared or changed, and UIDs that went."""

    uidnext: int
    highestmodseq: int
    expunged: NumberSet
    messages: Sequence[MessageRow]


async def load_mailbox(pool: Pool, scope: Scope, mailbox_id: int) -> LoadedMailbox | None:
    """Return a mailbox with all its messages, or None when it is gone or not this user's."""
    async with pool.connection() as connection, _consistently(connection):
        return await _load(connection, scope, mailbox_id)


async def load_changes(
    pool: Pool, scope: Scope, mailbox_id: int, *, since: int
) -> LoadedChanges | LoadedMailbox | None:
    """Return what happened after modseq ``since``: changes, or everything where the journal was pruned."""
    async with pool.connection() as connection, _consistently(connection):
        return await _load_since(connection, scope, mailbox_id, since)


async def highest_modseqs(pool: Pool, mailbox_ids: Sequence[int]) -> dict[int, int]:
    """Return the modseq that each mailbox has reached: the one poll for all open mailboxes of a process."""
    async with pool.connection() as connection:
        cursor = await connection.execute(_HIGHEST, {"mailboxes": list(mailbox_ids)})
        return dict(await cursor.fetchall())


@asynccontextmanager
async def _consistently(connection: Connection) -> AsyncIterator[None]:
    """Run several reads that see the database at one moment."""
    await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    try:
        async with connection.transaction():
            yield
    finally:
        if not connection.closed:
            await connection.set_isolation_level(None)


async def _mailbox(connection: Connection, scope: Scope, mailbox_id: int) -> tuple[Any, ...] | None:
    cursor = await connection.execute(_MAILBOX, {"mailbox": mailbox_id, "user": scope.user_id})
    return await cursor.fetchone()


async def _load(connection: Connection, scope: Scope, mailbox_id: int) -> LoadedMailbox | None:
    row = await _mailbox(connection, scope, mailbox_id)
    if row is None:
        return None
    account_id, uidvalidity, uidnext, highestmodseq, _ = row
    messages: list[MessageRow] = []
    # A server-side cursor, so that the event loop has a turn between chunks of a large mailbox.
    async with connection.cursor("snapshot") as cursor:
        await cursor.execute(_ALL, {"account": account_id, "mailbox": mailbox_id})
        while chunk := await cursor.fetchmany(_FETCH_ROWS):
            messages += chunk
    return LoadedMailbox(uidvalidity, uidnext, highestmodseq, messages)


def _union(texts: Iterable[str]) -> NumberSet:
    """Return the union of sets as the journal has them; of any number of them at once."""
    return NumberSet(chain.from_iterable(NumberSet.parse(text).ranges for text in texts))


async def _load_since(
    connection: Connection, scope: Scope, mailbox_id: int, since: int
) -> LoadedChanges | LoadedMailbox | None:
    row = await _mailbox(connection, scope, mailbox_id)
    if row is None:
        return None
    account_id, _, uidnext, highestmodseq, floor = row
    if since < floor - 1:
        return await _load(connection, scope, mailbox_id)
    where = {"account": account_id, "mailbox": mailbox_id}
    cursor = await connection.execute(_CHANGES, {**where, "since": since})
    changes = await cursor.fetchall()
    expunged = _union(gone for *_, gone in changes)
    uids = list(_union(text for _, *texts, _ in changes for text in texts) - expunged)
    messages: list[Any] = []
    if uids:
        cursor = await connection.execute(_SOME, {**where, "uids": uids})
        messages = await cursor.fetchall()
    return LoadedChanges(uidnext, highestmodseq, expunged, messages)
