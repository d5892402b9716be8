"""What upstreams said, gathered into requests for syncs."""

from __future__ import annotations

import asyncio
import logging

from django.db import Error as DatabaseError

from sync import scheduling
from sync.database_calls import DatabaseCalls

logger = logging.getLogger(__name__)

# Servers speak in bursts: one sync covers what comes within this time.
_BURST_SECONDS = 0.1
_RETRY_SECONDS = 1.0


class SyncRequests:
    """Asks for a sync of exactly the mailboxes that an upstream spoke of."""

    def __init__(self, database: DatabaseCalls) -> None:
        self._database = database
        self._spoke: dict[int, set[int | None]] = {}
        self._anybody_spoke = asyncio.Event()

    def speak(self, account_id: int, mailbox_id: int | None = None) -> None:
        """Something happened in a mailbox; without one, in any mailbox of the account."""
        self._spoke.setdefault(account_id, set()).add(mailbox_id)
        self._anybody_spoke.set()

    async def run(self) -> None:
        """Pass on what is said, for ever."""
        while True:
            await self._anybody_spoke.wait()
            await asyncio.sleep(_BURST_SECONDS)
            self._anybody_spoke.clear()
            spoke, self._spoke = self._spoke, {}
            for account_id, mailboxes in spoke.items():
                try:
                    await self._database.call(_request, account_id, mailboxes)
                except DatabaseError as error:
                    logger.warning("account %s: cannot ask for a sync: %s", account_id, error)
                    for mailbox_id in mailboxes:
                        self.speak(account_id, mailbox_id)
                    await asyncio.sleep(_RETRY_SECONDS)


def _request(account_id: int, mailboxes: set[int | None]) -> None:
    named = [mailbox_id for mailbox_id in mailboxes if mailbox_id is not None]
    if len(named) < len(mailboxes):
        scheduling.request_sync(account_id=account_id)
    else:
        scheduling.request_mailbox_sync(account_id=account_id, mailbox_ids=named)
