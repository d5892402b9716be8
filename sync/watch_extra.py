"""A further connection that idles on one mailbox, where the upstream speaks of one mailbox at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from django.db import Error as DatabaseError

from mailcache.errors import SealBroken
from sync.errors import NoConnectionFree
from sync.listener import Listener
from sync.services.watch_reads import Door
from sync.upstream.errors import UpstreamError
from sync.upstream.values import IdleEvent
from sync.watch_connections import MayNotConnect
from sync.watch_context import WatchContext
from sync.watch_plan import WatchedMailbox

logger = logging.getLogger(__name__)


class ExtraConnection:
    """One mailbox being idled on. When that ends, the main connection looks after the mailbox again."""

    def __init__(self, context: WatchContext, door: Door, mailbox: WatchedMailbox, news: Callable[[], None]) -> None:
        self._context = context
        self._door = door
        self._mailbox = mailbox
        self._news = news
        self._listener: Listener | None = None
        self._task = asyncio.create_task(self._run(), name=f"watch-{door.account_id}-{mailbox.id}")

    @property
    def is_running(self) -> bool:
        """Tell whether it listens, or is about to."""
        return not self._task.done()

    def probe(self) -> None:
        """Find out whether the connection is alive."""
        if self._listener is not None:
            self._listener.interrupt()

    def cancel(self) -> None:
        """End it."""
        self._task.cancel()

    async def ended(self) -> None:
        """Return when it has ended."""
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        account_id = self._door.account_id
        try:
            async with self._context.connections.open(account_id, self._door.endpoint.host) as connection:
                listener = Listener(
                    connection.client,
                    connection.door.profile,
                    self._mailbox.name_raw,
                    self._mailbox.numbers,
                    self._hear,
                )
                await listener.open()
                self._listener = listener
                self._context.listening.add((account_id, self._mailbox.name_raw))
                while listener.idles:
                    await listener.listen(None)
                    await listener.look()
        except (MayNotConnect, NoConnectionFree, SealBroken) as error:
            logger.info("account %s: no connection for %s: %s", account_id, self._mailbox.id, error)
        except (UpstreamError, DatabaseError) as error:
            logger.info("account %s: the connection for %s ended: %s", account_id, self._mailbox.id, error)
        finally:
            self._context.listening.discard((account_id, self._mailbox.name_raw))

    def _hear(self, event: IdleEvent | None) -> None:
        self._news()
