"""Hearing of one mailbox over one connection: by IDLE where the upstream has it, by asking where not."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

from sync.profiles import Profile
from sync.signals import Signal
from sync.upstream.aio import AsyncClient
from sync.upstream.errors import CommandRefused, NotOffered
from sync.upstream.values import IdleEvent, IdleKind, MailboxStatus, SelectedMailbox
from sync.watch_plan import UNKNOWN, Numbers, has_changed

logger = logging.getLogger(__name__)

_OF_OTHERS = frozenset({IdleKind.STATUS, IdleKind.LIST, IdleKind.OVERFLOW})

News = Callable[[IdleEvent | None], None]
"""Called with what the upstream announced, or with None when a look showed that the open mailbox changed."""


class Listener:
    """One mailbox. ``before`` is what was last known of it."""

    __slots__ = ("_client", "_interrupted", "_news", "_numbers", "_profile", "idles", "name_raw")

    def __init__(self, client: AsyncClient, profile: Profile, name_raw: bytes, before: Numbers, news: News) -> None:
        self._client = client
        self._profile = profile
        self.name_raw = name_raw
        self._numbers = before
        self._news = news
        self._interrupted = Signal()
        self.idles = profile.idle
        """Whether the upstream speaks by itself; found out by trying."""

    @property
    def is_open(self) -> bool:
        """Tell whether the mailbox is the one that is open, as far as it needs to be."""
        return self._is_selected or (self._asks_for_status and self._numbers != UNKNOWN)

    async def open(self) -> None:
        """Open the mailbox, and tell when it has changed since it was last known."""
        if self._asks_for_status:
            await self.look()
        else:
            self._compare(numbers_of(await self._client.examine(self.name_raw)))

    async def listen(self, seconds: float | None) -> None:
        """Tell what the upstream announces, for ``seconds`` or until ``interrupt``. The mailbox must be open."""
        if self.idles:
            try:
                async for event in self._client.idle(seconds=seconds):
                    self._hear(event)
            except (NotOffered, CommandRefused) as error:
                logger.info("IDLE cannot be used, asking instead: %s", error)
                self.idles = False
            self._interrupted.clear()
        else:
            await self._ask_now_and_then(seconds)

    def interrupt(self) -> None:
        """End ``listen``, or the next one, before it waits."""
        self._interrupted.set()
        if self.idles:
            self._client.stop_waiting()

    async def look(self) -> None:
        """Ask what is new, in the way that works with this upstream (quirks 28 and 30)."""
        if self._asks_for_status and not self._is_selected:
            told = numbers_of_status(await self._client.status(self.name_raw))
            # An empty list tells nothing (quirk 28): the mailbox is opened instead, now and from now on.
            self._compare(numbers_of(await self._client.examine(self.name_raw)) if told == UNKNOWN else told)
        elif self._profile.poll_with == "noop":
            for event in await self._client.noop():
                self._hear(event)
        else:
            # STATUS need not tell the truth of the mailbox that is open (RFC 3501 6.3.10).
            self._compare(numbers_of(await self._client.examine(self.name_raw)))

    @property
    def _is_selected(self) -> bool:
        selected = self._client.selected
        return selected is not None and selected.name_raw == self.name_raw

    @property
    def _asks_for_status(self) -> bool:
        return not self.idles and self._profile.poll_with == "status"

    async def _ask_now_and_then(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        until = math.inf if seconds is None else loop.time() + seconds
        while (left := until - loop.time()) > 0:
            if await self._interrupted.wait(min(self._profile.poll_seconds, left)):
                self._interrupted.clear()
                return
            await self.look()

    def _hear(self, event: IdleEvent) -> None:
        if event.kind not in _OF_OTHERS:
            # Whoever opens the mailbox again cannot tell whether that was all.
            self._numbers = UNKNOWN
        self._news(event)

    def _compare(self, now: Numbers) -> None:
        before, self._numbers = self._numbers, now
        if has_changed(before, now):
            self._news(None)


def numbers_of(selected: SelectedMailbox) -> Numbers:
    """Return what tells of changes in an answer to SELECT."""
    return Numbers(selected.uidvalidity, selected.uidnext, selected.exists, selected.highestmodseq)


def numbers_of_status(status: MailboxStatus) -> Numbers:
    """Return what tells of changes in an answer to STATUS."""
    return Numbers(status.uidvalidity, status.uidnext, status.messages, status.highestmodseq)
