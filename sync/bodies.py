"""Fetching bodies over one connection: batches from the dispenser, each in one command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from mailcache.segments import SEGMENT_TARGET_BYTES
from mailcache.services.ingest_bodies import park_listings
from mailcache.spool import spool_directory
from sync import planner
from sync.backoff import message_delay
from sync.body_store import BodyStore
from sync.collecting import ITEMS, BodyCollector, known_headers, others_than_meant
from sync.dispenser import Batch, BatchDispenser
from sync.errors import NothingDelivered, SliceOver
from sync.numbering import reopen_mailbox
from sync.planner import Waiting
from sync.spool import FetchedBody
from sync.upstream.errors import CommandRefused, Severity, UpstreamError
from sync.upstream.values import FetchedMessage
from sync.work import SUSPECT_AFTER, SliceWork

_FEW = 8
_REFUSED_IN_A_ROW = 5
_BROKEN_IN_A_SLICE = 3
_NOT_DELIVERED = "the upstream did not deliver this message"
_ANOTHER = "the upstream delivered another message than was asked for"


class BodyFetcher:
    """Fetches batches over the connection of one thread."""

    def __init__(self, work: SliceWork, store: BodyStore, dispenser: BatchDispenser) -> None:
        self._work = work
        self._store = store
        self._dispenser = dispenser
        self._broken = 0
        self._reasons: dict[int, str] = {}
        self._directory = spool_directory(Path(settings.DATA_DIR))

    def fetch(self, batch: Batch) -> None:
        """Fetch a batch and hand it to the store; what does not come is asked for once more, then set aside.

        Whatever goes wrong, what came is kept, and the rest given back.
        """
        began = self._work.clock()
        try:
            found = self._fetch(batch, batch.messages)
            self._note_pace(batch.messages, found, self._work.clock() - began)
            self._fetch_rest(batch, self._missing(batch, batch.messages), delivered=bool(found))
        finally:
            self._dispenser.release(batch.held, batch.mailbox.pk)

    def _fetch(self, batch: Batch, messages: Sequence[Waiting]) -> list[FetchedBody]:
        """Fetch some of a batch's messages in one command; what comes is handed over, and returned.

        What the upstream did not deliver is still held by the batch then.
        """
        reopen_mailbox(self._work, batch.mailbox, batch.uidvalidity)
        collector = BodyCollector(messages, self._directory)

        def take(message: FetchedMessage) -> None:
            collector.take(message)
            if self._work.clock() >= self._work.cut_at:
                raise SliceOver

        try:
            self._work.upstream.client.uid_fetch(
                sorted(message.uid for message in messages), ITEMS, on_message=take, open_sink=collector.open_sink
            )
        except UpstreamError as error:
            if not self._is_about_messages(batch, messages, error):
                raise
        finally:
            # What came before a fault is whole: it is not fetched again.
            found = self._hand_over(batch, collector)
        return found

    def _hand_over(self, batch: Batch, collector: BodyCollector) -> list[FetchedBody]:
        came = collector.found()
        remotes = {body.remote_id for body in came}
        others = others_than_meant(known_headers(self._work.account.pk, self._work.profile, remotes), came)
        self._reasons.update(dict.fromkeys(others, _ANOTHER))
        found = [body for body in came if body.remote_id not in others]
        collector.discard(besides=found)
        remotes = {body.remote_id for body in found}
        batch.held -= remotes
        self._store.put(batch.mailbox.pk, found, on_end=lambda: self._dispenser.release(remotes, batch.mailbox.pk))
        return found

    def _fetch_rest(self, batch: Batch, messages: Sequence[Waiting], *, delivered: bool) -> None:
        """Ask again for messages that an answer left out, in halves, then each by itself (field note 21).

        An upstream that delivers none of several has another trouble than single messages.
        """
        if len(messages) <= _FEW:
            self._fetch_singly(batch, messages, delivered=delivered)
            return
        middle = len(messages) // 2
        halves = messages[:middle], messages[middle:]
        for half in halves:
            delivered = bool(self._fetch(batch, half)) or delivered
        if not delivered:
            raise self._nothing(messages)
        for half in halves:
            self._fetch_rest(batch, self._missing(batch, half), delivered=True)

    def _fetch_singly(self, batch: Batch, messages: Sequence[Waiting], *, delivered: bool) -> None:
        refused = []
        for message in messages:
            delivered = bool(self._fetch(batch, [message])) or delivered
            refused += self._missing(batch, [message])
            if len(refused) > _REFUSED_IN_A_ROW and not delivered:
                raise self._nothing(refused)
        for message in refused:
            self._park(message, self._reason(message))

    def _nothing(self, messages: Sequence[Waiting]) -> NothingDelivered:
        return NothingDelivered(messages, self._reason(messages[0]))

    def _reason(self, message: Waiting) -> str:
        return self._reasons.get(message.remote_id, _NOT_DELIVERED)

    def _is_about_messages(self, batch: Batch, messages: Sequence[Waiting], error: UpstreamError) -> bool:
        """Tell whether the others can be fetched all the same.

        A connection that breaks says nothing about the messages that were being fetched (G8), unless it keeps breaking
        at one that is fetched alone: that one is set aside, so that it blocks no other.
        """
        if isinstance(error, CommandRefused):
            self._reasons.update((message.remote_id, str(error)) for message in messages)
            return error.severity == Severity.MESSAGE
        is_suspect = self._work.account.failures >= SUSPECT_AFTER or messages[0].attempts > 0
        if len(messages) > 1 or not is_suspect or self._broken >= _BROKEN_IN_A_SLICE:
            return False
        self._broken += 1
        self._work.upstream.drop()
        self._park(messages[0], f"the connection failed while this message was fetched: {error}")
        return True

    def _park(self, message: Waiting, reason: str) -> None:
        delay = message_delay(message.attempts + 1, self._work.rng)
        park_listings(
            fence=self._work.fence, remote_ids=[message.remote_id], reason=reason, retry_at=timezone.now() + delay
        )
        self._work.skipped.add(message.remote_id)
        self._work.counters.bodies_parked += 1

    def _missing(self, batch: Batch, messages: Sequence[Waiting]) -> list[Waiting]:
        left = batch.held - self._work.skipped
        return [message for message in messages if message.remote_id in left]

    def _note_pace(self, messages: Sequence[Waiting], found: Sequence[FetchedBody], seconds: float) -> None:
        pace = self._work.pace
        size = sum(body.size for body in found)
        if size:
            pace.bytes_per_second, pace.measured = size / max(seconds, 0.001), True
            pace.rough = seconds < planner.ROUGH_SECONDS
        pace.batch_limit = planner.next_limit(
            pace.batch_limit,
            seconds=seconds,
            full=sum(message.size for message in messages) * 2 >= pace.batch_limit,
            largest=SEGMENT_TARGET_BYTES,
        )
