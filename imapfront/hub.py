"""The open mailboxes of a process: one snapshot each, kept current, shared by all sessions."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg
from psycopg_pool import PoolTimeout

from imapfront.arrivals import Arrivals
from imapfront.snapshot import Snapshot
from mailcache import wakeup
from mailcache.errors import NoSuchMailbox
from mailcache.generations import GenerationTable
from mailcache.reads.mailboxes import Scope
from mailcache.reads.pool import Pool
from mailcache.reads.snapshots import LoadedMailbox, highest_modseqs, load_changes, load_mailbox

logger = logging.getLogger(__name__)

# Comparing a slot costs nanoseconds; this is how late an idling client may hear of a change on its own node.
_LOOK_SECONDS = 0.05

# Snapshots that nobody has open: about 40 bytes for each message.
_IDLE_MAILBOXES = 200
_IDLE_MESSAGES = 500_000

DatabaseAway = (psycopg.OperationalError, PoolTimeout)


@dataclass(eq=False, slots=True)
class SharedMailbox:
    """One open mailbox. ``gone`` when it was deleted; ``listeners`` are called after each change."""

    id: int
    scope: Scope
    snapshot: Snapshot
    token: int
    sessions: int = 0
    gone: bool = False
    listeners: set[Callable[[], None]] = field(default_factory=set)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Hub:
    """Opens, shares and refreshes mailboxes."""

    def __init__(self, pool: Pool, generations: GenerationTable, *, poll_interval: float) -> None:
        self._pool = pool
        self._generations = generations
        self._poll_interval = poll_interval
        self.arrivals = Arrivals(generations)
        self._open: dict[tuple[int, int], SharedMailbox] = {}
        self._opening: dict[tuple[int, int], asyncio.Lock] = {}
        self._idle: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to follow changes."""
        for run in (self._look(), self._poll(), self._listen()):
            self._tasks.append(asyncio.ensure_future(run))

    async def stop(self) -> None:
        """Stop following changes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def open(self, scope: Scope, mailbox_id: int) -> SharedMailbox:
        """Return a mailbox, current as of now; raises ``NoSuchMailbox``. Give it back with ``release``."""
        key = (scope.user_id, mailbox_id)
        async with self._opening.setdefault(key, asyncio.Lock()):
            shared = self._open.get(key)
            # While nobody had it open, nobody looked for what other nodes did.
            was_idle = self._idle.pop(key, None) is not None
            if shared is None:
                shared = await self._load(scope, mailbox_id)
                self._open[key] = shared
            shared.sessions += 1
        try:
            await self.refresh(shared, force=was_idle)
            if shared.gone:
                raise NoSuchMailbox("no such mailbox")
        except BaseException:
            self.release(shared)
            raise
        return shared

    def release(self, shared: SharedMailbox) -> None:
        """A session has closed the mailbox. A snapshot that nobody uses stays for a while: clients come back."""
        shared.sessions -= 1
        if shared.sessions:
            return
        key = (shared.scope.user_id, shared.id)
        self._idle[key] = len(shared.snapshot)
        if shared.gone:
            self._drop(key)
        while len(self._idle) > _IDLE_MAILBOXES or sum(self._idle.values()) > _IDLE_MESSAGES:
            self._drop(next(iter(self._idle)))

    def _drop(self, key: tuple[int, int]) -> None:
        del self._idle[key]
        self._open.pop(key, None)
        self._opening.pop(key, None)

    def is_current(self, shared: SharedMailbox) -> bool:
        """True when nobody on this node committed a change since the snapshot was read. Costs nanoseconds."""
        return self._generations.read(shared.id) == shared.token

    async def refresh(self, shared: SharedMailbox, *, force: bool = False) -> None:
        """Bring a snapshot up to date if it is not; then tell its listeners."""
        if not force and self.is_current(shared):
            return
        async with shared.lock:
            if not force and self.is_current(shared):
                return
            # The token first: a commit after this read will differ from it.
            token = self._generations.read(shared.id)
            before = shared.snapshot.highestmodseq
            await self._catch_up(shared)
            shared.token = token
        if shared.snapshot.highestmodseq != before or shared.gone:
            for listener in list(shared.listeners):
                listener()

    async def _load(self, scope: Scope, mailbox_id: int) -> SharedMailbox:
        token = self._generations.read(mailbox_id)
        loaded = await load_mailbox(self._pool, scope, mailbox_id)
        if loaded is None:
            raise NoSuchMailbox("no such mailbox")
        return SharedMailbox(mailbox_id, scope, _snapshot(loaded), token)

    async def _catch_up(self, shared: SharedMailbox) -> None:
        loaded = await load_changes(self._pool, shared.scope, shared.id, since=shared.snapshot.highestmodseq)
        if loaded is None:
            shared.gone = True
        elif isinstance(loaded, LoadedMailbox):
            shared.snapshot = _snapshot(loaded)
        else:
            shared.snapshot.apply(
                uidnext=loaded.uidnext,
                highestmodseq=loaded.highestmodseq,
                expunged=loaded.expunged,
                messages=loaded.messages,
            )

    async def _look(self) -> None:
        """Notice commits of this node for sessions that idle."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for shared in [one for one in self._open.values() if one.listeners and not self.is_current(one)]:
                await self._refresh_in_background(shared)

    async def _poll(self) -> None:
        """Notice everything else within a second: other nodes, and committers that died before they could tell."""
        while True:
            await asyncio.sleep(self._poll_interval)
            by_id: dict[int, list[SharedMailbox]] = {}
            for shared in self._open.values():
                if shared.sessions == 0:
                    continue
                by_id.setdefault(shared.id, []).append(shared)
            if not by_id:
                continue
            try:
                reached = await highest_modseqs(self._pool, list(by_id))
            except DatabaseAway as error:
                logger.warning("the database does not answer: %s", error)
                continue
            for mailbox_id, sharing in by_id.items():
                for shared in sharing:
                    if reached.get(mailbox_id) != shared.snapshot.highestmodseq:
                        await self._refresh_in_background(shared, force=True)

    async def _listen(self) -> None:
        """Notice commits of other nodes at once, while Redis is there."""
        async for heard in wakeup.listen():
            if isinstance(heard, wakeup.Arrival):
                self.arrivals.heard(heard.account_id)
                continue
            for shared in [one for one in self._open.values() if one.id == heard.mailbox_id and one.sessions]:
                if heard.modseq > shared.snapshot.highestmodseq:
                    await self._refresh_in_background(shared, force=True)

    async def _refresh_in_background(self, shared: SharedMailbox, *, force: bool = False) -> None:
        try:
            await self.refresh(shared, force=force)
        except DatabaseAway as error:
            logger.warning("the database does not answer: %s", error)


def _snapshot(loaded: LoadedMailbox) -> Snapshot:
    return Snapshot.load(
        uidvalidity=loaded.uidvalidity,
        uidnext=loaded.uidnext,
        highestmodseq=loaded.highestmodseq,
        messages=loaded.messages,
    )
