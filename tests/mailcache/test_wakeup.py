"""Wake-ups reach listeners, and their absence holds nobody up."""

from __future__ import annotations

import asyncio
import logging

import pytest
from asgiref.sync import sync_to_async
from pytest_django.fixtures import Settings

from mailcache import wakeup
from mailcache.wakeup import Wakeup


@pytest.fixture(autouse=True)
def _own_publisher() -> None:
    wakeup._publisher.cache_clear()


async def test_a_listener_hears() -> None:
    listener = wakeup.listen()
    heard = asyncio.ensure_future(anext(listener))
    while not heard.done():
        await sync_to_async(wakeup.publish)(42, 7)
        await asyncio.wait([heard], timeout=0.02)

    assert heard.result() == Wakeup(42, 7)
    await listener.aclose()  # type: ignore[attr-defined]  # an async generator, told as an iterator


def test_without_redis_publishing_says_so_once(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    with caplog.at_level(logging.WARNING):
        wakeup.publish(1, 1)
        wakeup.publish(1, 2)

    assert len(caplog.records) == 1
