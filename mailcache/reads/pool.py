"""The asynchronous connection pool of a process, from Django's database settings."""

from __future__ import annotations

from typing import Any

from django.db import connection
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

Pool = AsyncConnectionPool[AsyncConnection[tuple[Any, ...]]]

# A database that is away is told to the client within seconds; the pool reconnects by itself.
ACQUIRE_SECONDS = 10.0


class _LookingPool(Pool):
    """Has all connections looked at when one is found broken.

    A PostgreSQL that was restarted has ended all of them, and each would fail one client's command more.
    """

    async def putconn(self, conn: AsyncConnection[tuple[Any, ...]]) -> None:
        """Take a connection back."""
        is_broken = conn.closed
        await super().putconn(conn)
        if is_broken and not self.closed:
            await self.check()


def make_pool(*, size: int) -> Pool:
    """Return a pool that is not open yet; open it in the running event loop."""
    parameters = dict(connection.get_connection_params())
    for django_only in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(django_only, None)
    return _LookingPool(
        kwargs={**parameters, "autocommit": True},
        min_size=1,
        max_size=size,
        timeout=ACQUIRE_SECONDS,
        open=False,
        name="imapfront",
    )
