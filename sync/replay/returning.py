"""Upstreams that are away while local changes wait for them: a watcher knocks until somebody answers.

A knock is a connection without a login, closed after the greeting: one per upstream and second in the whole fleet,
however many accounts and changes wait there, while replay itself keeps to its pauses.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from random import Random

from django.core.cache import cache

from mailcache.services.replays import accounts_away, note_upstream_back
from sync import scheduling
from sync.connection import endpoint_of
from sync.database_calls import DatabaseCalls
from sync.upstream.aio import AsyncClient
from sync.upstream.endpoint import Deadlines, Endpoint
from sync.upstream.errors import UpstreamError

logger = logging.getLogger(__name__)

KNOCK_SECONDS = 0.8
_JITTER_SECONDS = 0.2
# A connection that is being made to an address that swallows packets is begun again soon: the packet that opens it is
# repeated less and less often.
_PATIENCE = Deadlines(connect=2.0, tls=5.0, greeting=10.0, login=10.0, command=10.0, inactivity=10.0)


class Returning:
    """Knocks at the upstreams that are away. ``is_back`` is called with the accounts of one that answered."""

    def __init__(self, database: DatabaseCalls, rng: Random, is_back: Callable[[Collection[int]], None]) -> None:
        self._database = database
        self._rng = rng
        self._is_back = is_back
        self._knocking: dict[Endpoint, asyncio.Task[None]] = {}

    async def look(self) -> None:
        """Knock where changes wait, unless somebody else has just done so."""
        await asyncio.sleep(self._rng.uniform(0.0, _JITTER_SECONDS))
        self._forget_ended()
        away = await self._database.call(take_turns, frozenset(self._knocking))
        for endpoint, account_ids in away.items():
            self._knocking[endpoint] = asyncio.create_task(self._knock(endpoint, account_ids))

    async def close(self) -> None:
        """Stop knocking."""
        for task in self._knocking.values():
            task.cancel()
        await asyncio.gather(*self._knocking.values(), return_exceptions=True)

    async def _knock(self, endpoint: Endpoint, account_ids: Collection[int]) -> None:
        try:
            await AsyncClient.knock(endpoint, _PATIENCE)
        except UpstreamError as error:
            logger.debug("%s:%s is away: %s", endpoint.host, endpoint.port, error)
            return
        logger.info("%s:%s is back: %d accounts are replayed", endpoint.host, endpoint.port, len(account_ids))
        await self._database.call(_replay, account_ids)
        self._is_back(account_ids)

    def _forget_ended(self) -> None:
        for endpoint in [endpoint for endpoint, task in self._knocking.items() if task.done()]:
            self._knocking.pop(endpoint).result()


def take_turns(knocking: Collection[Endpoint]) -> Mapping[Endpoint, Collection[int]]:
    """Return the upstreams whose turn it is, with the accounts that wait for them.

    Turns are notes in the cache: where these are lost, several watchers knock at once.
    """
    waiting: dict[Endpoint, list[int]] = defaultdict(list)
    for account in accounts_away():
        waiting[endpoint_of(account)].append(account.pk)
    return {
        endpoint: account_ids
        for endpoint, account_ids in waiting.items()
        if endpoint not in knocking
        and cache.add(f"knock:{endpoint.host}:{endpoint.port}:{endpoint.tls_mode}", 1, timeout=KNOCK_SECONDS)
    }


def _replay(account_ids: Collection[int]) -> None:
    for account_id in note_upstream_back(account_ids=account_ids):
        scheduling.enqueue_replay(account_id)
