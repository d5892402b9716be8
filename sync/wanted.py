"""Fetches the bytes that clients wait for over a connection that is there (design section 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from random import Random

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from mailcache.errors import NoSuchMailbox
from mailcache.models import Listing
from mailcache.segments import LARGE_MESSAGE_BYTES
from mailcache.services.contents import INLINE_BYTES
from mailcache.services.leases import Fence
from mailcache.services.wanted import GivenUp, give_up
from mailcache.spool import spool_directory
from sync import planner
from sync.backoff import message_delay
from sync.collecting import ITEMS, BodyCollector, known_headers, others_than_meant
from sync.database_calls import DatabaseCalls
from sync.planner import Waiting
from sync.profiles import Profile
from sync.storing import store_bodies
from sync.upstream.aio import AsyncClient
from sync.upstream.errors import CommandRefused, Severity

# The first of several messages should not wait for the last.
_BATCH_BYTES = 512 * 1024
_LOOK_AHEAD = 200
# Where something other than the message itself is in the way.
SOON = timedelta(seconds=60)
_NOT_DELIVERED = "the upstream did not deliver this message"
_RENUMBERED = "the mailbox was renumbered (UIDVALIDITY) upstream"


@dataclass(frozen=True, slots=True)
class WantedBatch:
    """Messages of one mailbox that clients wait for."""

    mailbox_id: int
    name_raw: bytes
    uidvalidity: int
    messages: Sequence[Waiting]


class WantedBodies:
    """Answers for the wants of one account, under its WATCH lease."""

    __slots__ = ("_database", "_fence", "_rng")

    def __init__(self, fence: Fence, database: DatabaseCalls, rng: Random) -> None:
        self._fence = fence
        self._database = database
        self._rng = rng

    async def fetch_all(self, client: AsyncClient, profile: Profile) -> bool:
        """Fetch until nothing is wanted; raises ``UpstreamError`` when the connection is of no use any more.

        False when nothing was. Another mailbox than before may be open afterwards.
        """
        has_fetched = False
        while (batch := await self._database.call(next_wanted, self._fence.account_id)) is not None:
            has_fetched = True
            left = await self._fetch(client, profile, batch, batch.messages)
            if left and len(batch.messages) > 1:
                # Once more, each by itself: what was left out may have been another one's fault (field note 21).
                left = [message for one in left for message in await self._fetch(client, profile, batch, [one])]
            await self._set_aside(left, _NOT_DELIVERED, blame=True)
        return has_fetched

    async def _fetch(
        self, client: AsyncClient, profile: Profile, batch: WantedBatch, messages: Sequence[Waiting]
    ) -> list[Waiting]:
        """Fetch messages and store what comes; returns those that the upstream left out or refused."""
        collector = BodyCollector(messages, _spool())
        trouble = ""
        # Read while the bodies are under way.
        headers = asyncio.create_task(self._known_headers(profile, messages))
        try:
            await client.uid_fetch_at_once(
                [message.uid for message in messages],
                ITEMS,
                examine=None if _is_open(client, batch) else batch.name_raw,
                on_message=collector.take,
                open_sink=collector.open_sink,
            )
        except CommandRefused as error:
            if error.severity == Severity.ACCOUNT:
                raise
            trouble = "" if error.severity == Severity.MESSAGE else str(error)
        finally:
            # What came before a fault is whole, and kept.
            stored = await self._keep(client, batch, collector, await headers)
        if stored is None:
            trouble = trouble or _RENUMBERED
        left = [message for message in messages if message.remote_id not in (stored or ())]
        if trouble:
            await self._set_aside(left, trouble, blame=False)
            return []
        return left

    async def _keep(
        self, client: AsyncClient, batch: WantedBatch, collector: BodyCollector, headers: Mapping[int, bytes]
    ) -> set[int] | None:
        """Store what came; returns its remotes, or None when it is not from the mailbox that was meant."""
        # Where EXAMINE was refused a server answers FETCH all the same, from the mailbox that it left open.
        selected = client.selected
        if not _is_open(client, batch) or (selected and selected.uidvalidity not in (None, batch.uidvalidity)):
            collector.discard()
            return None
        return await self._database.call(_store, self._fence, batch, collector, headers)

    async def _known_headers(self, profile: Profile, messages: Sequence[Waiting]) -> dict[int, bytes]:
        remotes = [message.remote_id for message in messages]
        return await self._database.call(known_headers, self._fence.account_id, profile, remotes)

    async def _set_aside(self, messages: Sequence[Waiting], reason: str, *, blame: bool) -> None:
        if not messages:
            return
        now = timezone.now()
        given_up = [
            GivenUp(message.remote_id, now + (message_delay(message.attempts + 1, self._rng) if blame else SOON))
            for message in messages
        ]
        await self._database.call(give_up, fence=self._fence, messages=given_up, reason=reason, blame=blame)


def next_wanted(account_id: int) -> WantedBatch | None:
    """Return what to fetch next: messages of the mailbox with the oldest want."""
    rows = list(
        Listing.objects.filter(
            account_id=account_id,
            wanted_at__isnull=False,
            remote__uidvalidity=F("mailbox__upstream_uidvalidity"),
            mailbox__upstream_name__isnull=False,
        )
        .order_by("wanted_at", "-uid")
        .values_list(
            "mailbox_id",
            "mailbox__upstream_name",
            "mailbox__upstream_uidvalidity",
            "remote_id",
            "uid",
            "size",
            "attempts",
        )[:_LOOK_AHEAD]
    )
    if not rows:
        return None
    mailbox_id, name_raw, uidvalidity, *_ = rows[0]
    waiting = [Waiting(*row[3:]) for row in rows if row[0] == mailbox_id]
    messages = planner.next_batch(waiting, 0, limit=_BATCH_BYTES, alone_above=LARGE_MESSAGE_BYTES)
    return WantedBatch(mailbox_id, bytes(name_raw or b""), uidvalidity or 0, messages)


@cache
def _spool() -> Path:
    return spool_directory(Path(settings.DATA_DIR))


def _is_open(client: AsyncClient, batch: WantedBatch) -> bool:
    return client.selected is not None and client.selected.name_raw == batch.name_raw


def _store(fence: Fence, batch: WantedBatch, collector: BodyCollector, headers: Mapping[int, bytes]) -> set[int]:
    """Store the bodies that came and are what was asked for; returns their remotes."""
    found = collector.found()
    others = others_than_meant(headers, found)
    good = [body for body in found if body.remote_id not in others]
    collector.discard(besides=good)
    try:
        store_bodies(fence=fence, mailbox_id=batch.mailbox_id, bodies=good, inline_bytes=INLINE_BYTES)
    except NoSuchMailbox:
        collector.discard()  # deleted meanwhile, and its wants with it
    return {body.remote_id for body in good}
