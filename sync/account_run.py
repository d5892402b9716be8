"""One slice of the sync of one account, under its lease; and a whole run made of slices."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from datetime import datetime, timedelta
from enum import Enum
from random import Random

from django.conf import settings
from django.db.models import Min
from django.utils import timezone

from mailcache.errors import LeaseLost, SealBroken
from mailcache.models import Account, AccountState, LeaseKind, Listing, Mailbox
from mailcache.services import accounts, leases
from mailcache.services.leases import Fence
from sync import backoff
from sync.body_store import BodyStore
from sync.connection import UpstreamSession
from sync.errors import SliceOver
from sync.heartbeat import Heartbeat
from sync.models import Checkpoint, SyncRun
from sync.passes import Passes
from sync.services import runs
from sync.services.runs import Counters
from sync.upstream.errors import AuthFailed, CommandRefused, Severity, UpstreamError
from sync.work import SliceWork

logger = logging.getLogger(__name__)

# Below the 30 seconds that a process gets to stop.
SLICE_SECONDS = 20.0
# What an upstream must say twice before it is believed (a mailbox is empty, or gone) is asked again this soon.
_LOOK_AGAIN = timedelta(seconds=45)
_SOONEST = timedelta(seconds=5)

# A fault that lasts until somebody acts is tried as rarely as one that has failed this many times more.
_LASTING = 12


class SliceEnd(Enum):
    """What a slice leaves behind."""

    MORE = "work remains: the next slice should follow"
    AGAIN = "in step, but asked for again in the meantime"
    DONE = "in step"
    FAILED = "failed; the account has its reason and its next date"
    STOPPED = "the account may not be synced now"
    BUSY = "somebody else works on this account"
    LOST = "somebody else has taken the account over"


def run_slice(
    account_id: int, *, full: bool = False, seconds: float = SLICE_SECONDS, rng: Random | None = None
) -> SliceEnd:
    """Work on an account for about ``seconds``. ``full`` asks for all mailboxes to be compared, not only those wanted.

    Faults of the upstream end up in the account's state; only faults of ours are raised.
    """
    account = Account.objects.syncable().filter(pk=account_id).first()
    if account is None:
        return SliceEnd.STOPPED
    fence = leases.acquire(account_id=account_id, kind=LeaseKind.SYNC, holder=_holder())
    if fence is None:
        if full:
            accounts.request_sync(account_id=account_id)
        return SliceEnd.BUSY
    try:
        run = runs.begin_slice(fence=fence, full=full, now=timezone.now())
        end = _Slice(account, fence, run, rng or Random()).run(seconds)  # noqa: S311 - jitter, not a secret
    except LeaseLost as error:
        logger.warning("account %s: %s", account_id, error)
        return SliceEnd.LOST
    finally:
        leases.release(fence)
    # Whoever asked while the lease was held found it busy and relies on this look.
    return SliceEnd.AGAIN if end is SliceEnd.DONE and _is_asked_for(account_id) else end


def run_account_until_done(
    account_id: int, *, seconds: float = SLICE_SECONDS, patience: float = 3600.0, rng: Random | None = None
) -> SliceEnd:
    """Run a full sync in this process, slice by slice; returns how the last one ended.

    Waits for another worker that holds the account; gives up after ``patience`` seconds.
    """
    give_up = time.monotonic() + patience
    full = True
    while True:
        end = run_slice(account_id, full=full, seconds=seconds, rng=rng)
        if end not in (SliceEnd.MORE, SliceEnd.AGAIN, SliceEnd.BUSY) or time.monotonic() > give_up:
            return end
        if end is SliceEnd.BUSY:
            time.sleep(0.5)
        # Whatever else is due is found in the database.
        full = False


class _Slice:
    """The work of one slice, and its outcome in the database on every way out."""

    def __init__(self, account: Account, fence: Fence, run: SyncRun, rng: Random) -> None:
        self._account = account
        self._fence = fence
        self._run = run
        self._rng = rng
        self._upstream = UpstreamSession(account)
        self._counters = Counters.of(run)
        self._before = Counters.of(run)

    def run(self, seconds: float) -> SliceEnd:
        """Work until done, until the time is up, or until something fails."""
        heartbeat = Heartbeat(self._fence, on_beat=self._beat, on_lost=self._upstream.abort)
        try:
            with heartbeat:
                self._work(heartbeat, time.monotonic() + seconds)
        except SliceOver:
            return self._pause(heartbeat)
        except AuthFailed as error:
            return self._fail(error, AccountState.AUTH_FAILED)
        except (UpstreamError, SealBroken) as error:
            # A connection that broke because the lease was lost is not the upstream's fault.
            leases.renew(self._fence)
            return self._fail(error, AccountState.FAILING)
        except LeaseLost:
            raise
        except Exception as error:
            self._fail(error, AccountState.FAILING)
            raise
        finally:
            self._upstream.close()
        return self._complete()

    def _work(self, heartbeat: Heartbeat, deadline: float) -> None:
        work = SliceWork(
            account=self._account,
            fence=self._fence,
            run=self._run,
            upstream=self._upstream,
            counters=self._counters,
            deadline=deadline,
            must_stop=heartbeat.must_stop,
            rng=self._rng,
        )
        with BodyStore(self._fence, self._counters) as store:
            Passes(work, store).run()

    def _beat(self, *, claim_for: timedelta = runs.CLAIM) -> None:
        runs.beat(run=self._run, counters=self._count(), remaining=self._remaining(), claim_for=claim_for)

    def _count(self) -> Counters:
        traffic = self._upstream.traffic()
        self._counters.commands = self._before.commands + traffic.commands
        self._counters.bytes_in = self._before.bytes_in + traffic.bytes_in
        self._counters.bytes_out = self._before.bytes_out + traffic.bytes_out
        return self._counters

    def _remaining(self) -> int:
        return Listing.objects.filter(account_id=self._account.pk).count()

    def _pause(self, heartbeat: Heartbeat) -> SliceEnd:
        if heartbeat.must_stop():
            runs.stop_run(fence=self._fence, run=self._run, counters=self._count(), reason="paused by an operator")
            return SliceEnd.STOPPED
        self._beat(claim_for=runs.QUEUED_CLAIM)
        return SliceEnd.MORE

    def _complete(self) -> SliceEnd:
        now = timezone.now()
        self._run.bodies_remaining = self._remaining()
        runs.complete_run(
            fence=self._fence,
            run=self._run,
            counters=self._count(),
            reason=_troubles(self._account.pk),
            next_sync_at=now + backoff.spread(settings.PERIODIC_SYNC_INTERVAL_SECONDS, self._rng),
            not_later_than=_put_off_until(self._account.pk, now),
        )
        self._tell(now)
        return SliceEnd.DONE

    def _tell(self, now: datetime) -> None:
        done = self._counters
        if done.messages_added or done.flags_changed or done.messages_removed or done.bodies_added:
            logger.info(
                "account %s in step after %.1f s: %d messages new, %d changed, %d gone, %d bodies fetched",
                self._account.pk,
                (now - self._run.started_at).total_seconds(),
                done.messages_added,
                done.flags_changed,
                done.messages_removed,
                done.bodies_added,
            )

    def _fail(self, error: Exception, state: AccountState) -> SliceEnd:
        logger.warning("account %s: sync failed: %s: %s", self._account.pk, type(error).__name__, error)
        delay = _pause_after(error, self._account.failures + 1, self._rng)
        runs.fail_run(
            fence=self._fence,
            run=self._run,
            counters=self._count(),
            state=state,
            reason=str(error) or type(error).__name__,
            next_sync_at=timezone.now() + delay,
        )
        return SliceEnd.FAILED


def _pause_after(error: Exception, failures: int, rng: Random) -> timedelta:
    """Return how long to leave the account alone; at least as long as the upstream asked for."""
    asked_for = error.retry_after if isinstance(error, CommandRefused) else None
    lasting = isinstance(error, UpstreamError) and error.severity == Severity.ACCOUNT
    delay = backoff.account_delay(failures + (_LASTING if lasting else 0), rng)
    return max(delay, timedelta(seconds=asked_for or 0))


def _troubles(account_id: int) -> str:
    rows = Checkpoint.objects.filter(account_id=account_id).exclude(reason="").order_by("mailbox__name")
    return "; ".join(f"{name}: {reason}" for name, reason in rows.values_list("mailbox__name", "reason")[:10])


def _put_off_until(account_id: int, now: datetime) -> datetime | None:
    """Return when the first of the things that were put off wants another look."""
    checkpoints = Checkpoint.objects.filter(account_id=account_id)
    dates = [
        checkpoints.aggregate(at=Min("retry_at"))["at"],
        Listing.objects.filter(account_id=account_id, retry_at__isnull=False).aggregate(at=Min("retry_at"))["at"],
        now + _LOOK_AGAIN if checkpoints.filter(gone_seen_at__isnull=False).exists() else None,
        now + _LOOK_AGAIN if Mailbox.objects.mirrored(account_id).filter(missed_lists__gt=0).exists() else None,
    ]
    return max(now + _SOONEST, min(date for date in dates if date)) if any(dates) else None


def _is_asked_for(account_id: int) -> bool:
    now = timezone.now()
    if Checkpoint.objects.wanted(now).filter(account_id=account_id).exists():
        return True
    return Account.objects.syncable().filter(pk=account_id, next_sync_at__lte=now).exists()


def _holder() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"
