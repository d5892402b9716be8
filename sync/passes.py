"""The order of work within a run: list of mailboxes, then every mailbox's messages, then headers, then bodies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from django.db.models import Sum
from django.utils import timezone

from mailcache.errors import NoSuchMailbox
from mailcache.models import Listing, Mailbox
from sync import planner
from sync.bodies import BodyFetcher
from sync.body_policy import BodyRights
from sync.body_store import BodyStore
from sync.body_workers import BodyWorkers, fetch_batches
from sync.compare import compare_mailbox
from sync.dispenser import BatchDispenser
from sync.faults import FaultHandler, Faults
from sync.label_mailboxes import fetch_first, fill_label_mailboxes
from sync.listing import fetch_headers
from sync.mailbox_list import refresh_mailbox_list
from sync.models import Checkpoint, SyncKind
from sync.removal import relink_what_came
from sync.upstream.errors import UpstreamError
from sync.work import SliceWork

logger = logging.getLogger(__name__)

# How many batches, each larger than the one before, may be fetched to learn how fast the upstream is.
_MEASUREMENTS = 3


class Passes:
    """Works on the account's mailboxes; one that fails does not stop the others.

    The first connection lists and compares. Bodies are fetched beside it by ``workers``, where the account may have so
    many connections; what they leave, and what there is without them, is fetched by the first one at the end.
    """

    def __init__(
        self,
        work: SliceWork,
        store: BodyStore,
        *,
        dispenser: BatchDispenser,
        workers: BodyWorkers,
        faults: Faults,
        rights: BodyRights,
    ) -> None:
        self._work = work
        self._store = store
        self._dispenser = dispenser
        self._workers = workers
        self._faults = faults
        self._rights = rights
        self._fetcher = BodyFetcher(work, store, dispenser)
        self._handler = FaultHandler(work, faults, blames=True)
        self._comparing: Mailbox | None = None
        work.on_step = self._look

    def run(self) -> None:
        """Do everything; raises ``SliceOver`` at a commit point, ``UpstreamError`` when nothing could be synced."""
        work = self._work
        if work.run.kind == SyncKind.FULL and work.run.listed_at is None:
            refresh_mailbox_list(work)
        self._offer()
        self._workers.consider()
        while mailboxes := self._to_compare():
            self._each(mailboxes, self._compare)
        fill_label_mailboxes(work)
        self._offer()
        self._each(self._to_fetch(), self._fetch_missing_headers)
        self._dispenser.complete()
        self._fetch_bodies()
        self._workers.join()
        # What a connection that failed has given back.
        self._fetch_bodies()
        for mailbox_id, uidvalidity in work.renumbered.items():
            relink_what_came(work, mailbox_id, uidvalidity)
        if self._faults.first is not None and not self._faults.succeeded:
            raise self._faults.first

    def _each(self, mailboxes: Iterable[Mailbox], step: Callable[[Mailbox], None]) -> None:
        for mailbox in mailboxes:
            if mailbox.pk in self._faults.mailboxes:
                continue
            # Outside of the try: what fails here is not the mailbox's fault.
            self._connect()
            try:
                step(mailbox)
                self._faults.succeeded = True
            except NoSuchMailbox:
                logger.info("account %s: a mailbox was deleted while it was synced", self._work.account.pk)
                self._faults.mailboxes.add(mailbox.pk)
            except UpstreamError as error:
                self._handler.take(mailbox, error)

    def _connect(self) -> None:
        try:
            self._work.upstream.connect()
        except UpstreamError as error:
            self._faults.raise_root(error)

    def _compare(self, mailbox: Mailbox) -> None:
        self._comparing = mailbox
        compare_mailbox(self._work, mailbox)
        self._dispenser.reopen(mailbox)
        if self._work.profile.verify_bodies:
            self._fetch_missing_headers(mailbox)
        self._fetch_newest(mailbox)
        self._fetch_missing_headers(mailbox)
        self._work.pause_point()

    def _look(self) -> None:
        """See whether there is something to do for other connections, after each step."""
        if self._comparing is not None:
            self._dispenser.reopen(self._comparing)
        self._workers.consider()

    def _fetch_newest(self, mailbox: Mailbox) -> None:
        """Fetch one small batch, so that the newest mail can be read and the upstream's speed is known."""
        if self._workers.started:
            return
        batch = self._dispenser.take(self._work.pace.batch_limit, wait=False, mailbox=mailbox)
        if batch is not None:
            self._fetcher.fetch(batch)

    def _fetch_missing_headers(self, mailbox: Mailbox) -> None:
        """Fetch headers where clients would wait long for the bodies, or where they are needed to check bodies."""
        if self._work.profile.verify_bodies or self._is_long(mailbox):
            fetch_headers(self._work, mailbox)
        self._dispenser.reopen(mailbox, listed=True)

    def _is_long(self, mailbox: Mailbox) -> bool:
        pace = self._work.pace
        missing = self._octets_without_header(mailbox)
        for _ in range(_MEASUREMENTS):
            if not missing or self._rights.withholds(missing):
                return missing > 0
            is_long = planner.are_headers_worthwhile(missing, pace.bytes_per_second)
            if pace.measured and not (is_long and pace.rough):
                return is_long
            self._fetch_newest(mailbox)
            missing = self._octets_without_header(mailbox)
        return planner.are_headers_worthwhile(missing, pace.bytes_per_second)

    def _octets_without_header(self, mailbox: Mailbox) -> int:
        self._store.drain()
        waiting = Listing.objects.fetchable(mailbox.account_id, timezone.now()).filter(mailbox=mailbox)
        return waiting.filter(header__isnull=True).aggregate(size=Sum("size"))["size"] or 0

    def _fetch_bodies(self) -> None:
        try:
            fetch_batches(self._work, self._fetcher, self._dispenser, self._faults, is_first=True)
        except UpstreamError as error:
            self._faults.raise_root(error)
        self._store.drain()

    def _offer(self) -> None:
        held_back = self._held_back()
        mailboxes = [mailbox for mailbox in self._mailboxes() if mailbox.pk not in held_back]
        unlisted = [mailbox.pk for mailbox in mailboxes] if self._work.profile.verify_bodies else []
        self._dispenser.offer(mailboxes, unlisted=unlisted, first=fetch_first(self._work.account.pk))

    def _to_compare(self) -> list[Mailbox]:
        """Return the mailboxes that this run has still to compare, in their order."""
        now = timezone.now()
        done: set[int] = set()
        wanted: set[int] = set()
        for row in Checkpoint.objects.filter(account_id=self._work.account.pk):
            is_current = row.compared_at is not None and row.compared_at >= self._work.run.compare_since
            if is_current or (row.retry_at is not None and row.retry_at > now):
                done.add(row.mailbox_id)
            if row.wanted_at is not None and (row.retry_at is None or row.retry_at <= now):
                wanted.add(row.mailbox_id)
        everything = self._work.run.kind == SyncKind.FULL
        return [
            mailbox for mailbox in self._mailboxes() if mailbox.pk in wanted or (everything and mailbox.pk not in done)
        ]

    def _to_fetch(self) -> list[Mailbox]:
        """Return the mailboxes with messages whose bodies can be fetched, in their order."""
        waiting = Listing.objects.fetchable(self._work.account.pk, timezone.now())
        missing = set(waiting.order_by().values_list("mailbox_id", flat=True).distinct()) - self._held_back()
        return [mailbox for mailbox in self._mailboxes() if mailbox.pk in missing]

    def _held_back(self) -> set[int]:
        rows = Checkpoint.objects.filter(account_id=self._work.account.pk, retry_at__gt=timezone.now())
        return set(rows.values_list("mailbox_id", flat=True))

    def _mailboxes(self) -> list[Mailbox]:
        # One that the last LIST did not name is about to be deleted, or the LIST was partial: leave it as it is.
        # What a label mailbox shows lives in All Mail.
        rows = Mailbox.objects.mirrored(self._work.account.pk).filter(
            selectable=True, sync_paused_reason="", missed_lists=0, label=""
        )
        found = [mailbox for mailbox in rows if mailbox.pk not in self._faults.mailboxes]
        return sorted(found, key=lambda mailbox: planner.mailbox_order(mailbox.role, mailbox.name))
