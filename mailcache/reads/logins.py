"""Whether logins still hold."""

from __future__ import annotations

from collections.abc import Collection

from mailcache.reads.pool import Pool

_VERSIONS = "SELECT id, auth_version FROM mailcache_user WHERE id = ANY(%(users)s) AND is_active"


async def auth_versions(pool: Pool, user_ids: Collection[int]) -> dict[int, int]:
    """Return the login version of each user who may log in: a higher one than at the login ends it."""
    async with pool.connection() as connection:
        cursor = await connection.execute(_VERSIONS, {"users": list(user_ids)})
        return dict(await cursor.fetchall())
