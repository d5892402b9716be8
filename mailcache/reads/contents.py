"""What FETCH needs of messages beyond the snapshot: ready-to-send structures, and where the bytes lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple

from psycopg.rows import class_row

from mailcache.reads.mailboxes import Scope
from mailcache.reads.pool import Pool

_ROWS = """
    SELECT message.uid, content.id AS content_id, content.size, segment.name AS segment, content."offset",
           {structures},
           content.sections, content.header_size,
           COALESCE(content.listing_headers, listing.listing_headers) AS listing_headers,
           octet_length(COALESCE(content.inline, listing.header)) AS held_size,
           {held} AS held
    {messages}
"""
_HELD = """
    SELECT message.uid, message.content_id, COALESCE(content.inline, listing.header)
    {messages}
"""
_MESSAGES = """
    FROM mailcache_message AS message
    JOIN mailcache_account AS account ON account.id = message.account_id
    LEFT JOIN mailcache_content AS content ON content.id = message.content_id
    LEFT JOIN mailcache_segment AS segment ON segment.id = content.segment_id
    LEFT JOIN mailcache_listing AS listing ON listing.remote_id = message.remote_id AND message.content_id IS NULL
    WHERE account.user_id = %(user)s AND message.mailbox_id = %(mailbox)s AND message.uid = ANY(%(uids)s)
      AND message.account_id = (SELECT account_id FROM mailcache_mailbox WHERE id = %(mailbox)s)
"""
_STRUCTURES = {
    "envelope": "COALESCE(content.envelope, listing.envelope)",
    "body": "content.body",
    "bodystructure": "content.bodystructure",
}
# The sum reads lengths only, so that PostgreSQL fetches bytes out of line for those that are sent.
_FEW_HELD = """
    CASE WHEN {wanted}
          AND SUM(octet_length(COALESCE(content.inline, listing.header))) FILTER (WHERE {wanted}) OVER () <= %(most)s
         THEN COALESCE(content.inline, listing.header) END
"""
_UNLISTED = "COALESCE(content.listing_headers, listing.listing_headers) IS NULL"


class BytesWanted(Enum):
    """Of which messages ``load_contents`` is to bring the bytes that the database holds."""

    NONE = auto()
    ALL = auto()
    UNLISTED = auto()
    """Those without listing headers, which are enough for the others."""


class ContentRow(NamedTuple):
    """One message: its rendered structures and its place in a segment; None for what is not here yet.

    What the database holds by itself is a message that is not in a segment, or the header of one whose body has not
    been fetched. ``held_size`` tells how much that is, ``held`` are these bytes if they were few enough to be brought.
    """

    uid: int
    content_id: int | None
    size: int | None
    segment: str | None
    offset: int | None
    envelope: bytes | None
    body: bytes | None
    bodystructure: bytes | None
    sections: bytes | None
    header_size: int | None
    listing_headers: bytes | None
    held_size: int | None
    held: bytes | None


async def load_contents(
    pool: Pool,
    scope: Scope,
    mailbox_id: int,
    uids: Sequence[int],
    *,
    structures: frozenset[str],
    bytes_wanted: BytesWanted,
    most_bytes: int,
) -> dict[int, ContentRow]:
    """Return the rows of messages by UID, with only those of envelope, body, bodystructure that are asked for.

    The wanted bytes come along where they are at most ``most_bytes`` in all; else ``load_held`` brings them.
    """
    query = _ROWS.format(
        structures=", ".join(
            f"{expression if name in structures else 'NULL::bytea'} AS {name}"
            for name, expression in _STRUCTURES.items()
        ),
        held=_held(bytes_wanted),
        messages=_MESSAGES,
    )
    parameters = _parameters(scope, mailbox_id, uids) | {"most": most_bytes}
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(ContentRow)) as cursor:
        await cursor.execute(query, parameters)
        return {row.uid: row for row in await cursor.fetchall()}


async def load_held(pool: Pool, scope: Scope, mailbox_id: int, rows: Iterable[ContentRow]) -> dict[int, bytes]:
    """Return the bytes that the database holds of messages, by UID; without those that are not as in their rows."""
    content_ids = {row.uid: row.content_id for row in rows}
    async with pool.connection() as connection, connection.cursor() as cursor:
        await cursor.execute(_HELD.format(messages=_MESSAGES), _parameters(scope, mailbox_id, content_ids))
        found = await cursor.fetchall()
    # Where a body has come since, the row tells of a header.
    return {uid: held for uid, content_id, held in found if held is not None and content_ids[uid] == content_id}


def _held(wanted: BytesWanted) -> str:
    if wanted is BytesWanted.NONE:
        return "NULL::bytea"
    return _FEW_HELD.format(wanted=_UNLISTED if wanted is BytesWanted.UNLISTED else "TRUE")


def _parameters(scope: Scope, mailbox_id: int, uids: Iterable[int]) -> dict[str, Any]:
    return {"user": scope.user_id, "mailbox": mailbox_id, "uids": list(uids)}
