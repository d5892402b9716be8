"""The mailboxes that a session sees, under the names that it sees them by (design section 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mailcache.names import ACCOUNTS, DELIMITER, RECOVERED
from mailcache.reads.pool import Pool

_COLUMNS = """
    mailbox.id, mailbox.account_id, mailbox.name, account.address,
    account.id = COALESCE(%(account)s, "user".root_account_id, account.id), mailbox.selectable, mailbox.subscribed,
    mailbox.role, mailbox.uidvalidity, mailbox.uidnext, mailbox.messages, mailbox.unseen, mailbox.recent_uid,
    mailbox.highestmodseq
"""
_FROM = """
    FROM mailcache_mailbox AS mailbox
    JOIN mailcache_account AS account ON account.id = mailbox.account_id
    JOIN mailcache_user AS "user" ON "user".id = account.user_id
    WHERE "user".id = %(user)s AND (%(account)s::bigint IS NULL OR account.id = %(account)s)
      AND mailbox.deleted_at IS NULL
"""
# The mailbox of refused messages is there for as long as there are any.
_LIST = f"""
    SELECT {_COLUMNS} {_FROM} AND (mailbox.name <> '{RECOVERED}' OR mailbox.messages > 0)
    ORDER BY account.id, mailbox.name
"""
_FIND = f"SELECT {_COLUMNS} {_FROM} AND mailbox.name = %(name)s"

_OWNERS = """
    SELECT account.id, account.address, account.id = COALESCE(%(account)s, "user".root_account_id, account.id)
    FROM mailcache_account AS account JOIN mailcache_user AS "user" ON "user".id = account.user_id
    WHERE "user".id = %(user)s AND (%(account)s::bigint IS NULL OR account.id = %(account)s)
    ORDER BY account.id
"""
_RECENT = """
    SELECT mailbox.id, count(message.id)
    FROM mailcache_mailbox AS mailbox
    JOIN mailcache_account AS account ON account.id = mailbox.account_id
    LEFT JOIN mailcache_message AS message ON message.account_id = mailbox.account_id
          AND message.mailbox_id = mailbox.id AND message.uid >= mailbox.recent_uid
    WHERE account.user_id = %(user)s AND mailbox.id = ANY(%(mailboxes)s)
    GROUP BY mailbox.id
"""
_ACCOUNTS = """
    SELECT account.address
    FROM mailcache_account AS account JOIN mailcache_user AS "user" ON "user".id = account.user_id
    WHERE "user".id = %(user)s AND %(account)s::bigint IS NULL AND account.id <> "user".root_account_id
    ORDER BY account.address
"""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose mailboxes: a user's, or those of one account if the login was confined to it."""

    user_id: int
    account_id: int | None = None

    def parameters(self) -> dict[str, Any]:
        """Return what every query here takes."""
        return {"user": self.user_id, "account": self.account_id}


@dataclass(frozen=True, slots=True)
class MailboxInfo:
    """One mailbox: the name that the session sees, and what LIST and STATUS tell of it."""

    id: int
    account_id: int
    name: str
    selectable: bool
    subscribed: bool
    role: str
    uidvalidity: int
    uidnext: int
    messages: int
    unseen: int
    recent_uid: int
    highestmodseq: int


async def list_mailboxes(pool: Pool, scope: Scope) -> list[MailboxInfo]:
    """Return all mailboxes of a session."""
    async with pool.connection() as connection:
        cursor = await connection.execute(_LIST, scope.parameters())
        return [_info(row) for row in await cursor.fetchall()]


async def find_mailbox(pool: Pool, scope: Scope, name: str) -> MailboxInfo | None:
    """Return the mailbox that a session calls ``name``."""
    async with pool.connection() as connection:
        for candidate in {name, _own_name(name)}:
            cursor = await connection.execute(_FIND, {**scope.parameters(), "name": candidate})
            for row in await cursor.fetchall():
                info = _info(row)
                if info.name == name:
                    return info
    return None


async def locate_name(pool: Pool, scope: Scope, name: str) -> tuple[int, str] | None:
    """Return the account, and the name inside it, of what a session calls ``name``; it need not exist."""
    async with pool.connection() as connection:
        cursor = await connection.execute(_OWNERS, scope.parameters())
        owners = await cursor.fetchall()
    for account_id, address, at_root in owners:
        if not at_root and name.startswith(_prefix(address)):
            return account_id, _own_name(name)
    return next(((account_id, name) for account_id, _, at_root in owners if at_root), None)


async def count_recent(pool: Pool, scope: Scope, mailbox_ids: list[int]) -> dict[int, int]:
    """Return how many messages of each mailbox no session was told of as recent."""
    async with pool.connection() as connection:
        cursor = await connection.execute(_RECENT, {"user": scope.user_id, "mailboxes": mailbox_ids})
        return dict(await cursor.fetchall())


async def namespace_prefixes(pool: Pool, scope: Scope) -> list[str]:
    """Return the prefixes of the session's personal namespaces; the root's is empty."""
    async with pool.connection() as connection:
        cursor = await connection.execute(_ACCOUNTS, scope.parameters())
        return ["", *(_prefix(address) for (address,) in await cursor.fetchall())]


def _prefix(address: str) -> str:
    return f"{ACCOUNTS}{DELIMITER}{address}{DELIMITER}"


def _own_name(name: str) -> str:
    """Return the name inside its account of a mailbox below ``Accounts/<address>/``."""
    levels = name.split(DELIMITER, 2)
    own = levels[2] if levels[0] == ACCOUNTS and len(levels) == 3 else name
    return "INBOX" if own.upper() == "INBOX" else own


def _info(row: tuple[Any, ...]) -> MailboxInfo:
    mailbox_id, account_id, name, address, at_root, *rest = row
    return MailboxInfo(mailbox_id, account_id, name if at_root else _prefix(address) + name, *rest)
