"""The bodies pass: bytes, newest first, in batches bounded by bytes. The rows of Listing are the work list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from django.conf import settings
from django.db.models import Sum
from django.utils import timezone

from mailcache.models import Listing, Mailbox
from mailcache.segments import LARGE_MESSAGE_BYTES, SEGMENT_TARGET_BYTES
from mailcache.services.ingest_bodies import park_listing
from mailcache.wire.framing import LiteralSink
from sync import planner
from sync.backoff import message_delay
from sync.body_store import BodyStore
from sync.errors import IncompleteAnswer
from sync.planner import Waiting
from sync.spool import FetchedBody, SpooledLiteral, spool_directory
from sync.upstream.errors import CommandRefused, Severity, UpstreamError
from sync.upstream.values import FetchedMessage, LiteralInfo
from sync.work import SUSPECT_AFTER, SliceWork

_ITEMS = b"(BODY.PEEK[])"
_LOOK_AHEAD = 2000
# What an upstream that lies about sizes can make one batch hold in memory.
_MOST_IN_MEMORY = 3 * SEGMENT_TARGET_BYTES
_REFUSED_IN_A_ROW = 5
_BROKEN_IN_A_SLICE = 3


class BodyPass:
    """Fetches the bodies of mailboxes of one account."""

    def __init__(self, work: SliceWork, store: BodyStore) -> None:
        self._work = work
        self._store = store
        self._broken = 0
        self._directory = spool_directory(Path(settings.DATA_DIR))

    def fetch_newest(self, mailbox: Mailbox) -> None:
        """Fetch one small batch, so that the newest mail can be read and the upstream's speed is known."""
        waiting = self._waiting(mailbox)
        if waiting:
            self._fetch_batch(mailbox, self._next(waiting, 0))

    def fetch_all(self, mailbox: Mailbox) -> None:
        """Fetch all that is missing; raises ``SliceOver`` between batches."""
        while waiting := self._waiting(mailbox):
            start = 0
            while start < len(waiting):
                batch = self._next(waiting, start)
                self._fetch_batch(mailbox, batch)
                start += len(batch)
                self._work.pause_point()

    def is_long(self, mailbox: Mailbox) -> bool:
        """Tell whether this mailbox's bodies take so long that clients should get the headers first."""
        self._store.drain()
        waiting = Listing.objects.fetchable(mailbox.account_id, timezone.now()).filter(mailbox=mailbox)
        missing = waiting.filter(header__isnull=True).aggregate(size=Sum("size"))["size"] or 0
        return planner.are_headers_worthwhile(missing, self._work.pace.bytes_per_second)

    def _waiting(self, mailbox: Mailbox) -> list[Waiting]:
        self._store.drain()
        rows = Listing.objects.fetchable(mailbox.account_id, timezone.now()).newest_first(mailbox.pk)
        newest = rows.values_list("remote_id", "uid", "size")[: _LOOK_AHEAD + len(self._work.skipped)]
        return [Waiting(*row) for row in newest if row[0] not in self._work.skipped]

    def _next(self, waiting: Sequence[Waiting], start: int) -> Sequence[Waiting]:
        return planner.next_batch(
            waiting,
            start,
            limit=self._work.pace.batch_limit,
            alone_above=LARGE_MESSAGE_BYTES,
            most=1 if self._work.account.failures >= SUSPECT_AFTER else planner.CHUNK_MESSAGES,
        )

    def _fetch_batch(self, mailbox: Mailbox, batch: Sequence[Waiting]) -> None:
        began = self._work.clock()
        bodies = self._fetch(mailbox, batch)
        self._note_pace(batch, bodies, self._work.clock() - began)
        done = {body.remote_id for body in bodies} | self._work.skipped
        missing = [message for message in batch if message.remote_id not in done]
        self._store.put(mailbox.pk, bodies)
        self._fetch_singly(mailbox, missing, delivered=bool(bodies))

    def _open(self, mailbox: Mailbox) -> None:
        name = bytes(mailbox.upstream_name or b"")
        if self._work.upstream.is_open(name):
            return
        selected = self._work.upstream.examine(name)
        # One that tells none was looked at when its messages were compared (quirk 41).
        if selected.uidvalidity and selected.uidvalidity != mailbox.upstream_uidvalidity:
            raise IncompleteAnswer("the mailbox was renumbered (UIDVALIDITY) while its messages were being fetched")

    def _fetch(self, mailbox: Mailbox, batch: Sequence[Waiting]) -> list[FetchedBody]:
        """Fetch some bodies in one command; those that the upstream does not deliver are missing in what it returns."""
        self._open(mailbox)
        remotes = {message.uid: message.remote_id for message in batch}
        bodies: dict[int, FetchedBody] = {}
        sinks: list[SpooledLiteral] = []

        def take(message: FetchedMessage) -> None:
            data = next(iter(message.sections.values()), None)
            if message.uid in remotes and message.uid not in bodies and isinstance(data, bytes | SpooledLiteral):
                bodies[message.uid] = FetchedBody(remotes[message.uid], message.uid, data)

        try:
            self._work.upstream.client.uid_fetch(
                sorted(remotes), _ITEMS, on_message=take, open_sink=self._sink_policy(sinks)
            )
        except UpstreamError as error:
            _discard(sinks, ())
            if not self._is_about_messages(batch, error):
                raise
            bodies.clear()
        sizes = {message.uid: message.size for message in batch}
        found = [body for body in bodies.values() if body.size or not sizes[body.uid]]
        _discard(sinks, found)
        return sorted(found, key=lambda body: body.uid)

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

    def _fetch_singly(self, mailbox: Mailbox, messages: Sequence[Waiting], *, delivered: bool) -> None:
        """Ask once more for messages that an answer left out, each by itself, then set them aside (field note 21).

        An upstream that delivers none of several has another trouble than single messages.
        """
        refused = []
        for message in messages:
            bodies = self._fetch(mailbox, [message])
            if bodies:
                self._store.put(mailbox.pk, bodies)
                delivered = True
            elif message.remote_id not in self._work.skipped:
                refused.append(message)
            if len(refused) > _REFUSED_IN_A_ROW and not delivered:
                raise IncompleteAnswer("the upstream delivers no message of this mailbox")
        for message in refused:
            self._park(message, "the upstream did not deliver this message")

    def _is_about_messages(self, batch: Sequence[Waiting], error: UpstreamError) -> bool:
        """Tell whether the others can be fetched all the same.

        A message at which the connection keeps breaking is set aside, so that it blocks no other.
        """
        if isinstance(error, CommandRefused):
            return error.severity == Severity.MESSAGE
        if len(batch) > 1 or self._work.account.failures < SUSPECT_AFTER or self._broken >= _BROKEN_IN_A_SLICE:
            return False
        self._broken += 1
        self._work.upstream.drop()
        self._park(batch[0], f"the connection failed while this message was fetched: {error}")
        return True

    def _park(self, message: Waiting, reason: str) -> None:
        attempts = Listing.objects.filter(account_id=self._work.account.pk, remote_id=message.remote_id).values_list(
            "attempts", flat=True
        )
        delay = message_delay(next(iter(attempts), 0) + 1, self._work.rng)
        park_listing(
            fence=self._work.fence, remote_id=message.remote_id, reason=reason, retry_at=timezone.now() + delay
        )
        self._work.skipped.add(message.remote_id)
        self._work.counters.bodies_parked += 1

    def _note_pace(self, batch: Sequence[Waiting], bodies: Sequence[FetchedBody], seconds: float) -> None:
        pace = self._work.pace
        size = sum(body.size for body in bodies)
        if size:
            pace.bytes_per_second, pace.measured = size / max(seconds, 0.001), True
        pace.batch_limit = planner.next_limit(
            pace.batch_limit,
            seconds=seconds,
            full=sum(message.size for message in batch) * 2 >= pace.batch_limit,
            largest=SEGMENT_TARGET_BYTES,
        )


def _discard(sinks: Sequence[SpooledLiteral], kept: Sequence[FetchedBody]) -> None:
    in_use = {id(body.data) for body in kept}
    for sink in sinks:
        if id(sink) not in in_use:
            sink.discard()
