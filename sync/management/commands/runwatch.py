"""``manage.py runwatch``: watch the upstreams of accounts for news."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from sync.watcher import Watcher


class Command(BaseCommand):
    """Runs the watcher until SIGTERM or SIGINT."""

    help = "Hold an idling connection to the upstream of every account, and ask for a sync when one of them speaks."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        asyncio.run(_run())


async def _run() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if settings.UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT < 2:
        await stop.wait()  # the only connection is the sync worker's
    else:
        await Watcher().run(stop)
