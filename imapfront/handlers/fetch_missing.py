"""Messages of a FETCH whose bytes are not here yet: wanted, waited for, and written as they come (design section 4).

RFC822.SIZE is not waited for: it is told as the upstream told it, because every client asks for it of whole mailboxes.
Where that was wrong, the message gets a new UID when its bytes come (``mailcache.services.ingest_bodies``).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence

from imapfront.handlers.fetch_blocks import BLOCK, is_listing, write_block
from imapfront.session import Session
from imapfront.wire.commands import Fetch
from mailcache.reads.wants import load_wants
from mailcache.services.wanted import want_bodies

logger = logging.getLogger(__name__)

# So many are marked as wanted at a time: a client may ask for a whole mailbox.
_WINDOW = 2 * BLOCK
# Behind the wake-ups.
_LOOK_SECONDS = 1.0
# The listing pass brings the headers of many messages; those of a few, which have just come, are not left to it.
_LISTED_AT_MOST = 20


class MissingMessages:
    """What one FETCH could not answer at once. Waiting holds up this client alone."""

    def __init__(self, session: Session, command: Fetch) -> None:
        self._session = session
        self._command = command
        self._later: deque[int] = deque()
        self._waiting: list[int] = []
        self.gone = 0
        """Messages that were expunged in the meantime."""
        self.unavailable = 0
        """Messages that are not to be had now."""

    async def add(self, positions: Sequence[int]) -> None:
        """Ask for messages, by position in the client's view, and return at once."""
        self._later.extend(positions)
        if not is_listing(self._command):
            await self._want_more()

    async def write_as_they_come(self) -> None:
        """Write what comes, in the order in which it comes; returns when nothing has come for too long."""
        if is_listing(self._command):
            if len(self._later) > _LISTED_AT_MOST:
                self._give_up()
            await self._want_more()
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        patience = self._session.services.configuration.body_wait
        expires = loop.time() + patience
        with self._session.services.hub.arrivals.waiting(self._session.mailbox.account_id) as waiter:
            while self._waiting and loop.time() < expires:
                if await self._look():
                    expires = loop.time() + patience
                if self._waiting:
                    await waiter.wait(min(_LOOK_SECONDS, max(0.0, expires - loop.time())))
        self._give_up()

    async def _want_more(self) -> None:
        """Mark the next messages as wanted, as many as the window has room for."""
        taken = [self._later.popleft() for _ in range(min(_WINDOW - len(self._waiting), len(self._later)))]
        if taken:
            self._waiting += taken
            await self._want(taken)

    async def _want(self, positions: Sequence[int]) -> None:
        session = self._session
        await session.services.threads.run(
            want_bodies, user_id=session.user.user_id, mailbox_id=session.mailbox.shared.id, uids=self._uids(positions)
        )

    async def _look(self) -> bool:
        """Write what is here now; False when nothing was."""
        await self._session.refresh()
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), BLOCK):
            block = waiting[start : start + BLOCK]
            written = await write_block(self._session, self._command, block)
            self.gone += written.gone
            self.unavailable += written.broken
            self._waiting += written.missing
            await self._session.channel.drain()
        has_come = len(self._waiting) < len(waiting)
        if self._waiting:
            await self._check_wants()
        await self._want_more()
        return has_come

    async def _check_wants(self) -> None:
        """Leave out what was given up, and mark again what lost its mark."""
        session = self._session
        wants = await load_wants(
            session.services.pool, session.user, session.mailbox.shared.id, self._uids(self._waiting)
        )
        kept, unmarked = [], []
        for position in self._waiting:
            want = wants.get(session.mailbox.view.uids[position])
            if want is not None and want.trouble:
                logger.info("%s: a message that is waited for was given up: %s", session.peer, want.trouble)
                self.unavailable += 1
                continue
            kept.append(position)
            if want is not None and not want.is_marked:
                unmarked.append(position)
        self._waiting = kept
        if unmarked:
            await self._want(unmarked)

    def _give_up(self) -> None:
        self.unavailable += len(self._waiting) + len(self._later)
        self._waiting = []
        self._later.clear()

    def _uids(self, positions: Sequence[int]) -> list[int]:
        uids = self._session.mailbox.view.uids
        return [uids[position] for position in positions]
