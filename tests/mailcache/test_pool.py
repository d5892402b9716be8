"""The pool of connections when PostgreSQL has gone and come back."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import psycopg
import pytest
from django.db import connection

from mailcache.reads.pool import Pool, make_pool

_SIZE = 4
_TERMINATE = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid = ANY(%s)"


@pytest.mark.django_db
def test_one_connection_that_is_found_broken_has_all_looked_at() -> None:
    asyncio.run(_use_after_all_have_ended())


async def _use_after_all_have_ended() -> None:
    async with make_pool(size=_SIZE) as pool:
        async with AsyncExitStack() as stack:
            taken = [await stack.enter_async_context(pool.connection()) for _ in range(_SIZE)]
            pids = [one.info.backend_pid for one in taken]
        await asyncio.to_thread(_terminate, pids)
        with pytest.raises(psycopg.OperationalError):
            await _use(pool)
        for _ in range(2 * _SIZE):
            await _use(pool)


async def _use(pool: Pool) -> None:
    async with pool.connection() as one:
        await one.execute("SELECT 1")


def _terminate(pids: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_TERMINATE, [pids])
    connection.close()
