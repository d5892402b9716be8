"""Wake-ups over Redis or Valkey: the only importer of ``redis``.

A wake-up says that something happened, nothing more: a mailbox changed, a client waits for bytes, bytes arrived.
Whoever wakes re-reads the database. Losing one costs latency only, because every listener polls as well, so publishing
never fails and never holds a committer for long.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache

import redis
import redis.asyncio
from django.conf import settings
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

logger = logging.getLogger(__name__)

_CHANGES = "imapped:wakeup"
_ARRIVALS = "imapped:arrivals"
_WANTS = "imapped:wants"
_CHANGE = struct.Struct(">QQ")
_ACCOUNT = struct.Struct(">Q")
_PATIENCE_SECONDS = 0.1
_COOL_OFF_SECONDS = 2.0
_RECONNECT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Wakeup:
    """A mailbox that changed, and the modseq it has reached."""

    mailbox_id: int
    modseq: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """An account of which bytes arrived that were not here, or turned out not to be had."""

    account_id: int


class _Publisher:
    """Publishes with little patience, and none for a while after a failure."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=_PATIENCE_SECONDS,
            socket_connect_timeout=_PATIENCE_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._silent_until = 0.0

    def publish(self, channel: str, message: bytes) -> None:
        now = time.monotonic()
        if now < self._silent_until:
            return
        try:
            self._client.publish(channel, message)
        except (RedisError, OSError) as error:
            self._silent_until = now + _COOL_OFF_SECONDS
            logger.warning("wake-ups are off, other nodes will poll: %s", error)


@cache
def _publisher() -> _Publisher:
    return _Publisher(settings.REDIS_URL)


def publish(mailbox_id: int, modseq: int) -> None:
    """Tell the other nodes that a mailbox changed; does nothing while Redis is away."""
    _publisher().publish(_CHANGES, _CHANGE.pack(mailbox_id, modseq))


def publish_arrival(account_id: int) -> None:
    """Tell the other nodes that bytes of an account arrived; does nothing while Redis is away."""
    _publisher().publish(_ARRIVALS, _ACCOUNT.pack(account_id))


def publish_want(account_id: int) -> None:
    """Tell the watchers that a client waits for bytes of an account; does nothing while Redis is away."""
    _publisher().publish(_WANTS, _ACCOUNT.pack(account_id))


def is_redis_reachable() -> bool:
    """Tell whether Redis answers; asks with a connection of its own, within a second."""
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=0.5, socket_connect_timeout=0.5, retry=Retry(NoBackoff(), 0)
    )
    try:
        return bool(client.ping())
    except (RedisError, OSError) as error:
        logger.warning("Redis does not answer: %s", error)
        return False
    finally:
        client.close()


async def listen() -> AsyncIterator[Wakeup | Arrival]:
    """Yield for ever what committers tell, connecting again whenever the connection is lost."""
    async for channel, message in _messages(_CHANGES, _ARRIVALS):
        if channel == _CHANGES and len(message) == _CHANGE.size:
            yield Wakeup(*_CHANGE.unpack(message))
        elif channel == _ARRIVALS and len(message) == _ACCOUNT.size:
            yield Arrival(*_ACCOUNT.unpack(message))


async def listen_for_wants() -> AsyncIterator[int]:
    """Yield for ever the accounts of which clients wait for bytes."""
    async for _, message in _messages(_WANTS):
        if len(message) == _ACCOUNT.size:
            yield _ACCOUNT.unpack(message)[0]


async def _messages(*channels: str) -> AsyncIterator[tuple[str, bytes]]:
    while True:
        try:
            async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as subscription:
                await subscription.subscribe(*channels)
                async for message in subscription.listen():
                    if message["type"] == "message":
                        yield message["channel"].decode(), message["data"]
        except (RedisError, OSError) as error:
            logger.warning("no wake-ups from other processes, polling: %s", error)
        await asyncio.sleep(_RECONNECT_SECONDS)
