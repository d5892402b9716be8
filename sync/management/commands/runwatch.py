"""``manage.py runwatch``: watch the upstreams of accounts for news."""

from __future__ import annotations

import asyncio
import ctypes
import resource
import signal
from typing import Any

import uvloop
from django.core.management.base import BaseCommand

from sync.watcher import Watcher

_M_MMAP_THRESHOLD = -3


class Command(BaseCommand):
    """Runs the watcher until SIGTERM or SIGINT."""

    help = "Listen to the upstreams of accounts, ask for a sync when one speaks, and fetch what clients wait for."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        _make_room()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run())


def _make_room() -> None:
    """Allow for thousands of connections."""
    # Each is a file descriptor, and the usual soft limit is 1,024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # uvloop gives each TLS connection a buffer of 256 KB, of which hardly any is used. Mapped by itself it costs the
    # page that is; glibc would take to allocating it within the heap, where it costs 7 KB more (measured).
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 128 * 1024)


async def _run() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Watcher().run(stop)
