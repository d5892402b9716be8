"""Wake-ups over Redis or Valkey: the only importer of ``redis``.

A wake-up says that a mailbox changed, nothing more; whoever wakes re-reads the journal. Losing one costs latency only,
because every listener polls as well, so publishing never fails and never holds a committer for long.
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

_CHANNEL = "imapped:wakeup"
_MESSAGE = struct.Struct(">QQ")
_PATIENCE_SECONDS = 0.1
_COOL_OFF_SECONDS = 2.0
_RECONNECT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Wakeup:
    """A mailbox that changed, and the modseq it has reached."""

    mailbox_id: int
    modseq: int


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

    def publish(self, wakeup: Wakeup) -> None:
        now = time.monotonic()
        if now < self._silent_until:
            return
        try:
            self._client.publish(_CHANNEL, _MESSAGE.pack(wakeup.mailbox_id, wakeup.modseq))
        except (RedisError, OSError) as error:
            self._silent_until = now + _COOL_OFF_SECONDS
            logger.warning("wake-ups are off, other nodes will poll: %s", error)


@cache
def _publisher() -> _Publisher:
    return _Publisher(settings.REDIS_URL)


def publish(mailbox_id: int, modseq: int) -> None:
    """Tell the other nodes that a mailbox changed; does nothing while Redis is away."""
    _publisher().publish(Wakeup(mailbox_id, modseq))


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


async def listen() -> AsyncIterator[Wakeup]:
    """Yield wake-ups for ever, connecting again whenever the connection is lost."""
    while True:
        try:
            async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as channel:
                await channel.subscribe(_CHANNEL)
                async for message in channel.listen():
                    if message["type"] == "message" and len(message["data"]) == _MESSAGE.size:
                        yield Wakeup(*_MESSAGE.unpack(message["data"]))
        except (RedisError, OSError) as error:
            logger.warning("no wake-ups from other nodes, polling: %s", error)
        await asyncio.sleep(_RECONNECT_SECONDS)
