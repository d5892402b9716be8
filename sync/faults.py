"""What goes wrong in a slice, and how far it reaches: one message, one mailbox, one connection, or the account."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

from django.utils import timezone

from mailcache.models import Listing, Mailbox
from mailcache.services.ingest_bodies import park_listings
from sync.backoff import mailbox_delay, message_delay
from sync.errors import NothingDelivered
from sync.lanes import Lane
from sync.models import Checkpoint
from sync.services.checkpoints import note_failed
from sync.upstream.errors import LIMIT_CODES, CommandRefused, Severity, TimedOut, UpstreamError, suggested_pause
from sync.work import SUSPECT_AFTER, SliceWork

logger = logging.getLogger(__name__)

# Messages of which none came may be bad ones, or the upstream is: then they should not wait for long after it recovers.
_ASIDE_SECONDS = (600.0, 1200.0)
# So often in one slice a connection that broke is replaced.
_REPLACED = 3


class Faults:
    """The faults of a slice, shared by its threads. The first one is the root cause of what follows (note 32)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.first: UpstreamError | None = None
        self.mailboxes: set[int] = set()
        """Mailboxes that are left alone for the rest of the slice."""
        self.put_aside: set[int] = set()
        """Those of them in which nothing is wrong but with some messages: the others can be fetched soon."""
        self.succeeded = False
        """Something was done in some mailbox."""

    def note(self, error: UpstreamError) -> None:
        """Remember a fault."""
        with self._lock:
            self.first = self.first or error

    def raise_root(self, error: UpstreamError) -> None:
        """Raise the first fault, with this one as what it led to."""
        self.note(error)
        if self.first is None or self.first is error or error.severity == Severity.ACCOUNT:
            raise error
        raise self.first from error


class FaultHandler:
    """Decides, for one thread of a slice, what becomes of a fault that it met in a mailbox.

    Only the first connection blames mailboxes (``blames``). A further one that meets a fault leaves that mailbox to the
    others: it may be the connection that is at fault (G7).
    """

    def __init__(self, work: SliceWork, faults: Faults, *, blames: bool) -> None:
        self.avoided: set[int] = set()
        """Mailboxes that this connection leaves to others."""
        self._work = work
        self._faults = faults
        self._blames = blames
        self._replaced = 0

    def take(self, mailbox: Mailbox, error: UpstreamError) -> None:
        """Blame the mailbox, or have the connection replaced, or give up by raising.

        The connection is replaced after any failure: it may be dead without being known to be (note 5).
        """
        work = self._work
        work.upstream.drop()
        if error.severity == Severity.ACCOUNT or _asks_for_a_pause(error) or self._is_too_slow(error):
            self._faults.raise_root(error)
        logger.warning("account %s, mailbox %s: %s", work.account.pk, mailbox.pk, error)
        self._faults.note(error)
        suspect = work.account.failures >= SUSPECT_AFTER
        is_local = error.severity != Severity.TRANSIENT or isinstance(error, CommandRefused)
        if is_local and not self._blames:
            self.avoided.add(mailbox.pk)
        elif is_local or (suspect and self._blames):
            self._leave_alone(mailbox, error)
        if not is_local:
            self._replaced += 1
            if suspect or self._replaced > _REPLACED:
                self._faults.raise_root(error)

    def _is_too_slow(self, error: UpstreamError) -> bool:
        return isinstance(error, TimedOut) and self._work.lane is Lane.FAST

    def _leave_alone(self, mailbox: Mailbox, error: UpstreamError) -> None:
        self._faults.mailboxes.add(mailbox.pk)
        if isinstance(error, NothingDelivered):
            # What else is in the mailbox, and comes into it, does not wait for these.
            self._faults.put_aside.add(mailbox.pk)
            self._put_aside(error)
            return
        failures = Checkpoint.objects.filter(mailbox_id=mailbox.pk).values_list("failures", flat=True).first() or 0
        note_failed(
            fence=self._work.fence,
            mailbox_id=mailbox.pk,
            reason=str(error),
            retry_at=timezone.now() + mailbox_delay(failures + 1, self._work.rng),
        )

    def _put_aside(self, error: NothingDelivered) -> None:
        work, remotes = self._work, {message.remote_id for message in error.messages}
        # Those that nobody got in two attempts are blamed: they go by themselves, and more and more rarely.
        parked = Listing.objects.parked(work.account.pk).filter(remote_id__in=remotes)
        again = set(parked.values_list("remote_id", flat=True))
        attempts = max(message.attempts for message in error.messages) + 1
        aside = timedelta(seconds=work.rng.uniform(*_ASIDE_SECONDS))
        for some, delay in ((remotes - again, aside), (again, max(aside, message_delay(attempts, work.rng)))):
            park_listings(
                fence=work.fence,
                remote_ids=some,
                reason=str(error),
                retry_at=timezone.now() + delay,
                blame=some is again,
            )
        self._work.counters.bodies_parked += len(error.messages)
        # The mailbox had been compared: the account is in step but for these.
        self._faults.succeeded = True


def describe(error: Exception) -> str:
    """Return what went wrong first, and what that led to."""
    text = str(error) or type(error).__name__
    then = error.__cause__
    return f"{text}; then: {then}" if isinstance(then, UpstreamError) and isinstance(error, UpstreamError) else text


def _asks_for_a_pause(error: UpstreamError) -> bool:
    """Tell whether the upstream wants to be left alone, by a limit or with a time (quirks 12 and 26)."""
    has_code = isinstance(error, CommandRefused) and error.code in LIMIT_CODES
    return has_code or suggested_pause(str(error)) is not None
