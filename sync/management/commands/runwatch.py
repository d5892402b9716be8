"""``manage.py runwatch``: watch the upstreams of accounts for news."""

from __future__ import annotations

import asyncio
import resource
import signal
from typing import Any

import uvloop
from django.core.management.base import BaseCommand

from sync.watcher import Watcher


class Command(BaseCommand):
    """Runs the watcher until SIGTERM or SIGINT."""

    help = "Listen to the upstreams of accounts, ask for a sync when one speaks, and fetch what clients wait for."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        # Each account is a file descriptor, and the usual soft limit is 1,024.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run())


async def _run() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Watcher().run(stop)
