"""The order of work within a run: list of mailboxes, then every mailbox's messages, then headers, then bodies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from django.utils import timezone

from mailcache.errors import NoSuchMailbox
from mailcache.models import Listing, Mailbox
from sync import planner
from sync.backoff import mailbox_delay
from sync.bodies import BodyPass
from sync.body_store import BodyStore
from sync.compare import compare_mailbox
from sync.listing import fetch_headers
from sync.mailbox_list import refresh_mailbox_list
from sync.models import Checkpoint, SyncKind
from sync.services.checkpoints import note_failed
from sync.upstream.errors import CommandRefused, Severity, UpstreamError
from sync.work import SUSPECT_AFTER, SliceWork

logger = logging.getLogger(__name__)

_LIMITS = frozenset({"LIMIT", "THROTTLED"})


class Passes:
    """Works on the account's mailboxes; one that fails does not stop the others."""

    def __init__(self, work: SliceWork, store: BodyStore) -> None:
        self._work = work
        self._bodies = BodyPass(work, store)
        self._failed: set[int] = set()
        self._first_error: UpstreamError | None = None
        self._succeeded = False
        self._reconnected = False

    def run(self) -> None:
        """Do everything; raises ``SliceOver`` at a commit point, ``UpstreamError`` when nothing could be synced."""
        work = self._work
        if work.run.kind == SyncKind.FULL and work.run.listed_at is None:
            refresh_mailbox_list(work)
        while mailboxes := self._to_compare():
            self._each(mailboxes, self._compare)
        while mailboxes := self._to_fetch():
            self._each(mailboxes, self._fetch_long_headers)
            self._each(mailboxes, self._bodies.fetch_all)
        if self._first_error is not None and not self._succeeded:
            raise self._first_error

    def _each(self, mailboxes: Iterable[Mailbox], step: Callable[[Mailbox], None]) -> None:
        for mailbox in mailboxes:
            if mailbox.pk in self._failed:
                continue
            # Outside of the try: what fails here is not the mailbox's fault.
            self._work.upstream.connect()
            try:
                step(mailbox)
                self._succeeded = True
            except NoSuchMailbox:
                logger.info("account %s: a mailbox was deleted while it was synced", self._work.account.pk)
                self._failed.add(mailbox.pk)
            except UpstreamError as error:
                self._note_failure(mailbox, error)

    def _compare(self, mailbox: Mailbox) -> None:
        compare_mailbox(self._work, mailbox)
        self._bodies.fetch_newest(mailbox)
        self._fetch_long_headers(mailbox)
        self._work.pause_point()

    def _fetch_long_headers(self, mailbox: Mailbox) -> None:
        if not self._work.pace.measured:
            self._bodies.fetch_newest(mailbox)
        if self._bodies.is_long(mailbox):
            fetch_headers(self._work, mailbox)

    def _note_failure(self, mailbox: Mailbox, error: UpstreamError) -> None:
        """Blame the mailbox, or try the connection once more, or give the slice up."""
        work = self._work
        work.upstream.drop()
        if error.severity == Severity.ACCOUNT:
            raise error
        logger.warning("account %s, mailbox %s: %s", work.account.pk, mailbox.pk, error)
        self._first_error = self._first_error or error
        suspect = work.account.failures >= SUSPECT_AFTER
        is_local = error.severity != Severity.TRANSIENT or _is_about_the_mailbox(error)
        if is_local or suspect:
            failures = Checkpoint.objects.filter(mailbox_id=mailbox.pk).values_list("failures", flat=True).first() or 0
            retry_at = timezone.now() + mailbox_delay(failures + 1, work.rng)
            note_failed(fence=work.fence, mailbox_id=mailbox.pk, reason=str(error), retry_at=retry_at)
            self._failed.add(mailbox.pk)
        if not is_local and (suspect or self._reconnected):
            raise self._first_error
        self._reconnected = self._reconnected or not is_local

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
        missing = set(waiting.order_by().values_list("mailbox_id", flat=True).distinct())
        held_back = set(
            Checkpoint.objects.filter(account_id=self._work.account.pk, retry_at__gt=timezone.now()).values_list(
                "mailbox_id", flat=True
            )
        )
        return [mailbox for mailbox in self._mailboxes() if mailbox.pk in missing - held_back]

    def _mailboxes(self) -> list[Mailbox]:
        # One that the last LIST did not name is about to be deleted, or the LIST was partial: leave it as it is.
        rows = Mailbox.objects.mirrored(self._work.account.pk).filter(
            selectable=True, sync_paused_reason="", missed_lists=0
        )
        found = [mailbox for mailbox in rows if mailbox.pk not in self._failed]
        return sorted(found, key=lambda mailbox: planner.mailbox_order(mailbox.role, mailbox.name))


def _is_about_the_mailbox(error: UpstreamError) -> bool:
    """Tell whether a NO or BAD may be true of one mailbox only; one about a limit is not."""
    if not isinstance(error, CommandRefused):
        return False
    return error.retry_after is None and error.code not in _LIMITS
