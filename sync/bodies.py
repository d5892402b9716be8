"""Fetching bodies over one connection: batches from the dispenser, each in one command."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from mailcache.models import Listing
from mailcache.segments import LARGE_MESSAGE_BYTES, SEGMENT_TARGET_BYTES
from mailcache.services.ingest_bodies import park_listing
from mailcache.spool import SpooledLiteral, spool_directory
from mailcache.wire.framing import LiteralSink
from sync import planner
from sync.backoff import message_delay
from sync.body_store import BodyStore
from sync.dispenser import Batch, BatchDispenser
from sync.errors import IncompleteAnswer, SliceOver
from sync.numbering import reopen_mailbox
from sync.planner import Waiting
from sync.spool import FetchedBody
from sync.upstream.errors import CommandRefused, Severity, UpstreamError
from sync.upstream.values import FetchedMessage, LiteralInfo
from sync.verification import is_same_message
from sync.work import SUSPECT_AFTER, SliceWork

_ITEMS = b"(BODY.PEEK[])"
# What an upstream that lies about sizes can make one batch hold in memory.
_MOST_IN_MEMORY = 3 * SEGMENT_TARGET_BYTES
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
        wanted = {message.uid: message for message in messages}
        bodies: dict[int, FetchedBody] = {}
        sinks: list[SpooledLiteral] = []

        def take(message: FetchedMessage) -> None:
            data = next(iter(message.sections.values()), None)
            if message.uid in wanted and message.uid not in bodies and isinstance(data, bytes | SpooledLiteral):
                bodies[message.uid] = FetchedBody(wanted[message.uid].remote_id, message.uid, data)
                if self._work.clock() >= self._work.cut_at:
                    raise SliceOver

        try:
            self._work.upstream.client.uid_fetch(
                sorted(wanted), _ITEMS, on_message=take, open_sink=self._sink_policy(sinks)
            )
        except UpstreamError as error:
            if not self._is_about_messages(batch, messages, error):
                raise
        finally:
            # What came before a fault is whole: it is not fetched again.
            found = self._hand_over(batch, wanted, bodies, sinks)
        return found

    def _hand_over(
        self,
        batch: Batch,
        wanted: Mapping[int, Waiting],
        bodies: Mapping[int, FetchedBody],
        sinks: Sequence[SpooledLiteral],
    ) -> list[FetchedBody]:
        headers = self._known_headers(wanted.values())
        found = []
        for uid, body in sorted(bodies.items()):
            if body.remote_id in headers and not is_same_message(headers[body.remote_id], body.head):
                self._reasons[body.remote_id] = _ANOTHER
            elif body.size or not wanted[uid].size:
                found.append(body)
        _discard(sinks, found)
        remotes = {body.remote_id for body in found}
        batch.held -= remotes
        self._store.put(batch.mailbox.pk, found, on_end=lambda: self._dispenser.release(remotes, batch.mailbox.pk))
        return found

    def _known_headers(self, messages: Collection[Waiting]) -> dict[int, bytes]:
        if self._work.profile.rewrites_bytes:
            return {}  # its messages change (quirk 15)
        rows = Listing.objects.filter(
            account_id=self._work.account.pk, remote_id__in=[message.remote_id for message in messages]
        )
        known = rows.filter(header__isnull=False).values_list("remote_id", "header")
        return {remote_id: bytes(header) for remote_id, header in known if header is not None}

    def _sink_policy(self, sinks: list[SpooledLiteral]) -> Callable[[LiteralInfo], LiteralSink | None]:
        in_memory = 0

        def open_sink(literal: LiteralInfo) -> LiteralSink | None:
            nonlocal in_memory
            if literal.size <= LARGE_MESSAGE_BYTES and in_memory + literal.size <= _MOST_IN_MEMORY:
                in_memory += literal.size
                return None
            sinks.append(SpooledLiteral(self._directory))
            return sinks[-1]

        return open_sink

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
            raise IncompleteAnswer("the upstream delivers no message of this mailbox")
        for half in halves:
            self._fetch_rest(batch, self._missing(batch, half), delivered=True)

    def _fetch_singly(self, batch: Batch, messages: Sequence[Waiting], *, delivered: bool) -> None:
        refused = []
        for message in messages:
            delivered = bool(self._fetch(batch, [message])) or delivered
            refused += self._missing(batch, [message])
            if len(refused) > _REFUSED_IN_A_ROW and not delivered:
                raise IncompleteAnswer("the upstream delivers no message of this mailbox")
        for message in refused:
            self._park(message, self._reasons.get(message.remote_id, _NOT_DELIVERED))

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
        park_listing(
            fence=self._work.fence, remote_id=message.remote_id, reason=reason, retry_at=timezone.now() + delay
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


def _discard(sinks: Sequence[SpooledLiteral], kept: Sequence[FetchedBody]) -> None:
    in_use = {id(body.data) for body in kept}
    for sink in sinks:
        if id(sink) not in in_use:
            sink.discard()
