"""The connection that an account's watcher always has: hears of INBOX, looks at the others, fetches what is wanted."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterable
from functools import partial

from sync.listener import Listener, numbers_of_status
from sync.services.watch_reads import is_busy, load_plan
from sync.signals import Signal
from sync.upstream.errors import CommandRefused
from sync.upstream.values import IdleEvent, IdleKind, MailboxStatus
from sync.wanted import WantedBodies
from sync.watch_connections import OpenConnection
from sync.watch_context import WatchContext
from sync.watch_extra import ExtraConnection
from sync.watch_plan import INBOX, UNKNOWN, Numbers, WatchedMailbox, WatchPlan, extra_connections, has_changed

logger = logging.getLogger(__name__)

# Without LIST-STATUS each mailbox costs a command: so many have their turn at a time.
_STATUS_AT_ONCE = 20
# Who reads one message often reads the next.
_LINGER_SECONDS = 1.0
# The account is new: its mailboxes are not known before its first sync has listed them.
_UNTIL_LISTED_SECONDS = 15.0


class MainConnection:
    """One connection's life. ``fetch_wanted`` and ``probe`` may be called at any time."""

    # There are thousands of them.
    __slots__ = (
        "_account_id", "_client", "_connection", "_context", "_door", "_extras", "_is_settled", "_listener",
        "_must_probe", "_names", "_notifying", "_plan", "_seen", "_turn", "_unknown", "_wanted", "_wants_bytes",
    )  # fmt: skip

    def __init__(
        self, context: WatchContext, connection: OpenConnection, plan: WatchPlan, wanted: WantedBodies
    ) -> None:
        self._context = context
        self._client, self._door = connection.client, connection.door
        self._connection = connection
        self._account_id = connection.door.account_id
        self._wanted = wanted
        self._seen: dict[int, Numbers] = {}
        self._names: frozenset[bytes] | None = None
        self._unknown: set[bytes] = set()
        self._extras: dict[int, ExtraConnection] = {}
        self._notifying = False
        self._is_settled = False
        self._wants_bytes = Signal()
        self._must_probe = False
        self._turn = 0
        self._plan = plan
        main = plan.main
        self._listener = Listener(
            self._client,
            connection.door.profile,
            main.name_raw if main else INBOX,
            main.numbers if main else UNKNOWN,
            self._hear,
        )

    def fetch_wanted(self) -> None:
        """A client waits for bytes."""
        self._wants_bytes.set()
        self._listener.interrupt()

    def probe(self) -> None:
        """Ask something of the upstream, which shows whether the connection is alive."""
        self._must_probe = True
        self._listener.interrupt()
        for extra in self._extras.values():
            extra.probe()

    async def run(self) -> None:
        """Listen until the connection fails."""
        await self._fetch()  # somebody may be waiting already
        self._notifying = await self._client.notify(status=True)
        await self._open()
        await self._look_around()
        self._is_settled = True
        loop = asyncio.get_running_loop()
        look_at = loop.time() + self._interval()
        self._context.listening.add((self._account_id, self._listener.name_raw))
        while True:
            await self._listener.listen(max(0.0, look_at - loop.time()))
            await self._fetch()
            if self._must_probe:
                self._must_probe = False
                await self._listener.look()
            if loop.time() >= look_at:
                await self._context.connections.record(self._connection)
                self._plan = await self._context.database.call(load_plan, self._account_id)
                await self._look_around()
                look_at = loop.time() + self._interval()
            await self._open()

    async def close(self) -> None:
        """End the further connections."""
        self._context.listening.discard((self._account_id, self._listener.name_raw))
        extras, self._extras = self._extras, {}
        for extra in extras.values():
            extra.cancel()
        await asyncio.gather(*(extra.ended() for extra in extras.values()))

    def _interval(self) -> float:
        if self._plan.main is None:
            return _UNTIL_LISTED_SECONDS
        return min(self._door.profile.idle_seconds, self._door.profile.poll_seconds)

    async def _fetch(self) -> None:
        """Fetch what is wanted, and wait a moment for more before IDLE takes another round trip."""
        loop = asyncio.get_running_loop()
        lingers_until = 0.0
        while self._wants_bytes.is_set:
            self._wants_bytes.clear()
            if await self._wanted.fetch_all(self._client, self._door.profile):
                lingers_until = loop.time() + _LINGER_SECONDS
            # Also when this wake-up told of what the one before had fetched already.
            await self._wants_bytes.wait(max(0.0, lingers_until - loop.time()))

    async def _open(self) -> None:
        if not self._listener.is_open:
            await self._listener.open()

    async def _look_around(self) -> None:
        """Find out about the mailboxes of which this connection does not hear."""
        if not self._notifying:
            await self._compare_others()
        await self._adjust_extras()

    async def _compare_others(self) -> None:
        others = [mailbox for mailbox in self._plan.others if not self._is_heard(mailbox)]
        if not others:
            return
        if self._client.may("LIST-STATUS"):
            listed = await self._client.list_mailboxes(status=True)
            names = frozenset(one.name_raw for one in listed)
            if self._names not in (None, names):
                self._context.requests.speak(self._account_id)
            self._names = names
            statuses = {one.name_raw: one.status for one in listed if one.status is not None}
            for mailbox in others:
                if mailbox.name_raw in statuses:
                    self._compare(mailbox, statuses[mailbox.name_raw])
            return
        for mailbox in self._next_turn(others):
            try:
                self._compare(mailbox, await self._client.status(mailbox.name_raw))
            except CommandRefused as error:
                logger.info("account %s: %s", self._account_id, error)

    def _next_turn(self, others: list[WatchedMailbox]) -> Iterable[WatchedMailbox]:
        """Return the mailboxes that are asked for now: all of them in turn, where there are many."""
        count = min(_STATUS_AT_ONCE, len(others))
        start, self._turn = self._turn % len(others), self._turn + count
        return itertools.islice(itertools.cycle(others), start, start + count)

    def _compare(self, mailbox: WatchedMailbox, status: MailboxStatus) -> None:
        now = numbers_of_status(status)
        before = self._seen.get(mailbox.id, mailbox.numbers)
        self._seen[mailbox.id] = now
        if has_changed(before, now):
            self._context.requests.speak(self._account_id, mailbox.id)

    def _is_heard(self, mailbox: WatchedMailbox) -> bool:
        extra = self._extras.get(mailbox.id)
        return extra is not None and extra.is_running

    async def _adjust_extras(self) -> None:
        most = 0
        limit = self._door.limits.account
        if self._listener.idles and not self._notifying and extra_connections(limit, busy=False):
            busy = await self._context.database.call(is_busy, self._account_id)
            most = extra_connections(limit, busy=busy)
        chosen = {mailbox.id: mailbox for mailbox in self._plan.others[:most]}
        ended = [
            self._extras.pop(pk) for pk in list(self._extras) if pk not in chosen or not self._extras[pk].is_running
        ]
        for extra in ended:
            extra.cancel()
        await asyncio.gather(*(extra.ended() for extra in ended))
        for pk in chosen.keys() - self._extras.keys():
            self._extras[pk] = ExtraConnection(
                self._context, self._door, chosen[pk], partial(self._context.requests.speak, self._account_id, pk)
            )

    def _hear(self, event: IdleEvent | None) -> None:
        speak = self._context.requests.speak
        if event is None or event.kind not in (IdleKind.STATUS, IdleKind.LIST, IdleKind.OVERFLOW):
            speak(self._account_id, self._plan.main.id if self._plan.main else None)
        elif event.kind is IdleKind.STATUS:
            self._hear_of_another(event)
        else:
            self._notifying = self._notifying and event.kind is not IdleKind.OVERFLOW
            speak(self._account_id)

    def _hear_of_another(self, event: IdleEvent) -> None:
        mailbox = self._plan.by_name().get(event.name_raw)
        if mailbox is not None:
            self._compare(mailbox, event.status or MailboxStatus())
        elif self._is_settled and event.name_raw not in self._unknown:
            self._unknown.add(event.name_raw)
            self._context.requests.speak(self._account_id)
        else:
            self._unknown.add(event.name_raw)
