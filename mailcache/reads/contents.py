"""What FETCH needs of messages beyond the snapshot: ready-to-send structures, and where the bytes lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg.rows import class_row

from mailcache.reads.mailboxes import Scope
from mailcache.reads.pool import Pool

_ROWS = """
    SELECT message.uid, content.id AS content_id, content.size, segment.name AS segment, content."offset",
           {inline} AS inline,
           {structures},
           content.sections, content.header_size,
           COALESCE(content.listing_headers, listing.listing_headers) AS listing_headers,
           {header} AS header
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


class ContentRow(NamedTuple):
    """One message: its rendered structures and its place in a segment; None for what is not here yet.

    ``header`` is the header of a message whose body has not been fetched.
    """

    uid: int
    content_id: int | None
    size: int | None
    segment: str | None
    offset: int | None
    inline: bytes | None
    envelope: bytes | None
    body: bytes | None
    bodystructure: bytes | None
    sections: bytes | None
    header_size: int | None
    listing_headers: bytes | None
    header: bytes | None


async def load_contents(
    pool: Pool, scope: Scope, mailbox_id: int, uids: Sequence[int], *, structures: frozenset[str], bytes_wanted: bool
) -> dict[int, ContentRow]:
    """Return the rows of messages by UID, with only those of envelope, body, bodystructure that are asked for."""
    query = _ROWS.format(
        structures=", ".join(
            f"{expression if name in structures else 'NULL::bytea'} AS {name}"
            for name, expression in _STRUCTURES.items()
        ),
        inline="content.inline" if bytes_wanted else "NULL::bytea",
        header="listing.header" if bytes_wanted else "NULL::bytea",
    )
    parameters: dict[str, Any] = {"user": scope.user_id, "mailbox": mailbox_id, "uids": list(uids)}
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(ContentRow)) as cursor:
        await cursor.execute(query, parameters)
        return {row.uid: row for row in await cursor.fetchall()}
