"""One slice of the sync of one account, under its lease; and a whole run made of slices."""

from __future__ import annotations

import logging
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
from sync import backoff, limits, stopping
from sync.body_policy import body_rights, next_budget, show_withheld
from sync.body_store import BodyStore
from sync.body_workers import BodyWorkers
from sync.causes import cause_of
from sync.connection import UpstreamSession, new_holder, profile_of
from sync.dispenser import BatchDispenser
from sync.errors import NoConnectionFree, SliceOver
from sync.faults import Faults, describe
from sync.heartbeat import Heartbeat
from sync.lanes import Lane, slow_accounts
from sync.models import Checkpoint, Purpose, SyncRun
from sync.passes import Passes
from sync.planner import CHUNK_MESSAGES
from sync.replay import turns
from sync.services import runs
from sync.services.runs import Counters
from sync.services.slots import connection_limits
from sync.services.upstream_notes import note_slow
from sync.services.usage import record_usage
from sync.slice_connections import SliceConnections
from sync.upstream.errors import AuthFailed, Severity, TimedOut, UpstreamError, suggested_pause
from sync.work import SUSPECT_AFTER, SliceWork

logger = logging.getLogger(__name__)

SLICE_SECONDS = 20.0
# A slice that is late is cut between two messages; in the fast lane then in the middle of whatever it waits for. Not so
# in the slow one: a large message over a slow line takes as long as bytes come, and would never come in pieces.
_CUT_AFTER = 5.0
_END_AFTER = 9.0
# What an upstream must say twice before it is believed (a mailbox is empty, or gone) is asked again this soon.
_LOOK_AGAIN = timedelta(seconds=45)
_SOONEST = timedelta(seconds=5)
# Of many messages that were set aside each has its own date.
_BODIES_SOONEST = timedelta(minutes=2)

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
    CROWDED = "all connections that the account or its host may have are in use"
    SLOW = "the upstream is too slow for this lane: the slow lane goes on"
    INTERRUPTED = "the worker is being stopped: the next one goes on"
    LOST = "somebody else has taken the account over"


# After these another slice follows.
UNFINISHED = frozenset({SliceEnd.MORE, SliceEnd.AGAIN, SliceEnd.SLOW, SliceEnd.INTERRUPTED})


def run_slice(
    account_id: int,
    *,
    full: bool = False,
    seconds: float = SLICE_SECONDS,
    lane: Lane = Lane.SLOW,
    rng: Random | None = None,
) -> SliceEnd:
    """Work on an account for about ``seconds``. ``full`` asks for all mailboxes to be compared, not only those wanted.

    Faults of the upstream end up in the account's state; only faults of ours are raised.
    """
    rng = rng or Random()  # noqa: S311 - jitter, not a secret
    account = Account.objects.syncable().filter(pk=account_id).first()
    if account is None or (not full and _is_left_alone(account)):
        return SliceEnd.STOPPED
    if lane is Lane.FAST and slow_accounts([account_id], timezone.now()):
        return SliceEnd.SLOW
    fence = leases.acquire(account_id=account_id, kind=LeaseKind.SYNC, holder=new_holder())
    if fence is None:
        if full:
            accounts.request_sync(account_id=account_id)
        return SliceEnd.BUSY
    connections = SliceConnections(account, holder=fence.holder, lane=lane, rng=rng)
    try:
        upstream = connections.open(Purpose.SYNC)
        # Replay goes before sync.
        if turns.is_asked(account_id) or not upstream.reserve():
            runs.postpone_slice(account_id=account_id, until=timezone.now() + backoff.soon(rng), full=full)
            return SliceEnd.CROWDED
        run = runs.begin_slice(fence=fence, full=full, now=timezone.now())
        with stopping.ending_in_order():
            end = _Slice(account, fence, run, connections, upstream, lane, rng).run(seconds)
    except LeaseLost as error:
        logger.warning("account %s: %s", account_id, error)
        return SliceEnd.LOST
    finally:
        connections.close()
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
        waits = end in (SliceEnd.BUSY, SliceEnd.CROWDED)
        if (end not in UNFINISHED and not waits) or stopping.is_stopping() or time.monotonic() > give_up:
            return end
        if waits:
            time.sleep(0.5)
        # Whatever else is due is found in the database.
        full = False


class _Slice:
    """The work of one slice, and its outcome in the database on every way out."""

    def __init__(
        self,
        account: Account,
        fence: Fence,
        run: SyncRun,
        connections: SliceConnections,
        upstream: UpstreamSession,
        lane: Lane,
        rng: Random,
    ) -> None:
        self._account = account
        self._fence = fence
        self._run = run
        self._connections = connections
        self._upstream = upstream
        self._lane = lane
        self._rng = rng
        self._profile = profile_of(account)
        self._began = timezone.now()
        self._rights = body_rights(account, self._profile, timezone.now())
        self._faults = Faults()
        self._before = Counters.of(run)
        self._counters = [Counters()]
        """What each thread of this slice has done."""
        skipped: set[int] = set()
        suspect = account.failures >= SUSPECT_AFTER
        self._dispenser = BatchDispenser(
            account.pk,
            rights=self._rights,
            faults=self._faults,
            skipped=skipped,
            most=1 if suspect else min(CHUNK_MESSAGES, self._profile.largest_fetch),
        )
        self._skipped = skipped

    def run(self, seconds: float) -> SliceEnd:
        """Work until done, until the time is up, or until something fails."""
        heartbeat = Heartbeat(
            self._fence,
            on_beat=self._beat,
            abort=self._connections.abort,
            at_most=seconds + _END_AFTER if self._lane is Lane.FAST else None,
        )
        try:
            with heartbeat:
                self._work(heartbeat, time.monotonic() + seconds)
        except (SliceOver, NoConnectionFree):
            return self._pause(heartbeat)
        except AuthFailed as error:
            return self._fail(error, AccountState.AUTH_FAILED)
        except (UpstreamError, SealBroken) as error:
            return self._end_of(error, heartbeat)
        except LeaseLost:
            raise
        except Exception as error:
            self._fail(error, AccountState.FAILING)
            raise
        finally:
            self._connections.close()
            self._record_usage()
        return self._complete()

    def _work(self, heartbeat: Heartbeat, deadline: float) -> None:
        makes_way = turns.watch(self._account.pk)
        work = SliceWork(
            account=self._account,
            fence=self._fence,
            run=self._run,
            upstream=self._upstream,
            counters=self._counters[0],
            deadline=deadline,
            must_stop=lambda: heartbeat.must_stop() or stopping.is_stopping() or makes_way(),
            rng=self._rng,
            profile=self._profile,
            lane=self._lane,
            cut_at=deadline + _CUT_AFTER,
            skipped=self._skipped,
        )
        workers = BodyWorkers(
            work,
            self._dispenser,
            self._faults,
            self._connections,
            most=limits.body_workers(connection_limits(self._account, self._profile).account),
            counters=self._counters,
        )
        with BodyStore(self._fence, work.counters) as store, workers:
            Passes(
                work,
                store,
                dispenser=self._dispenser,
                workers=workers,
                faults=self._faults,
                rights=self._rights,
            ).run()

    def _beat(self) -> None:
        self._connections.renew_slots()
        self._record_usage()
        self._publish(runs.CLAIM)

    def _publish(self, claim_for: timedelta) -> None:
        runs.beat(run=self._run, counters=self._count(), remaining=self._remaining(), claim_for=claim_for)

    def _record_usage(self) -> None:
        record_usage(account_id=self._account.pk, day=timezone.now().date(), by_command=self._connections.new_usage())

    def _count(self) -> Counters:
        traffic = self._connections.traffic()
        now = Counters(commands=traffic.commands, bytes_in=traffic.bytes_in, bytes_out=traffic.bytes_out)
        return runs.total([self._before, *self._counters, now])

    def _remaining(self) -> int:
        return Listing.objects.filter(account_id=self._account.pk).count()

    def _pause(self, heartbeat: Heartbeat) -> SliceEnd:
        if heartbeat.must_stop():
            runs.stop_run(fence=self._fence, run=self._run, counters=self._count(), reason="paused by an operator")
            return SliceEnd.STOPPED
        if stopping.is_stopping():
            return self._interrupt()
        self._publish(runs.QUEUED_CLAIM)
        return SliceEnd.MORE

    def _interrupt(self) -> SliceEnd:
        runs.interrupt_run(
            fence=self._fence, run=self._run, counters=self._count(), reason="its worker was stopped; the next goes on"
        )
        return SliceEnd.INTERRUPTED

    def _end_of(self, error: UpstreamError | SealBroken, heartbeat: Heartbeat) -> SliceEnd:
        """End on a fault; not if the connection was ended from here, or was only too slow for this lane."""
        # A connection that broke because the lease was lost is not the upstream's fault.
        leases.renew(self._fence)
        if stopping.is_stopping():
            return self._interrupt()
        is_slow = heartbeat.is_overtime or isinstance(error, TimedOut) or isinstance(error.__cause__, TimedOut)
        if self._lane is Lane.FAST and is_slow:
            logger.info("account %s goes to the slow lane: %s", self._account.pk, error)
            note_slow(account_id=self._account.pk, host=self._account.host)
            self._publish(runs.QUEUED_CLAIM)
            return SliceEnd.SLOW
        return self._fail(error, AccountState.FAILING)

    def _complete(self) -> SliceEnd:
        now = timezone.now()
        withheld = self._dispenser.is_anything_withheld()
        show_withheld(self._account, self._rights, withheld=withheld)
        dates = [self._put_off_until(now)]
        if withheld and self._rights.until_tomorrow:
            dates.append(next_budget(self._rng))
        self._run.bodies_remaining = self._remaining()
        runs.complete_run(
            fence=self._fence,
            run=self._run,
            counters=self._count(),
            reason=_troubles(self._account.pk),
            next_sync_at=now + backoff.spread(settings.PERIODIC_SYNC_INTERVAL_SECONDS, self._rng),
            not_later_than=min((date for date in dates if date), default=None),
        )
        self._tell(now)
        return SliceEnd.DONE

    def _put_off_until(self, now: datetime) -> datetime | None:
        """Return when the first of the things that were put off wants another look.

        What was due when this slice began has had it: it waits for something else, or nobody may fetch it.
        """
        account_id = self._account.pk
        mailboxes = Mailbox.objects.mirrored(account_id).filter(selectable=True, sync_paused_reason="")
        checkpoints = Checkpoint.objects.filter(account_id=account_id, mailbox__in=mailboxes)
        bodies = self._dispenser.permitted(Listing.objects.put_off(account_id, since=self._began))
        date = bodies.filter(mailbox__in=mailboxes).aggregate(at=Min("retry_at"))["at"]
        others = self._dispenser.permitted(Listing.objects.fetchable(account_id, now))
        if others.filter(mailbox_id__in=self._faults.put_aside, mailbox__in=mailboxes).exists():
            date = now
        held_back = checkpoints.filter(gone_seen_at__isnull=False).exclude(retry_at__gt=now)
        is_doubted = held_back.exists() or mailboxes.filter(missed_lists__gt=0).exists()
        dates = [
            checkpoints.filter(retry_at__gt=self._began).aggregate(at=Min("retry_at"))["at"],
            max(date, now + _BODIES_SOONEST) if date else None,
            now + _LOOK_AGAIN if is_doubted else None,
        ]
        return max(now + _SOONEST, min(date for date in dates if date)) if any(dates) else None

    def _tell(self, now: datetime) -> None:
        done = self._count()
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
        logger.warning("account %s: sync failed: %s: %s", self._account.pk, type(error).__name__, describe(error))
        delay = _pause_after(error, self._account.failures + 1, self._rng)
        runs.fail_run(
            fence=self._fence,
            run=self._run,
            counters=self._count(),
            state=state,
            reason=describe(error),
            cause=cause_of(error),
            next_sync_at=timezone.now() + delay,
        )
        return SliceEnd.FAILED


def _is_left_alone(account: Account) -> bool:
    """Tell whether an account that failed waits for its next date: nobody but who asks for all of it goes before."""
    is_waiting = account.state == AccountState.FAILING and account.next_sync_at > timezone.now()
    return is_waiting and not SyncRun.objects.open().filter(account=account).exists()


def _pause_after(error: Exception, failures: int, rng: Random) -> timedelta:
    """Return how long to leave the account alone; at least as long as the upstream asked for."""
    asked_for = suggested_pause(describe(error)) if isinstance(error, UpstreamError) else None
    lasting = isinstance(error, UpstreamError) and error.severity == Severity.ACCOUNT
    delay = backoff.account_delay(failures + (_LASTING if lasting else 0), rng)
    return max(delay, timedelta(seconds=asked_for or 0))


def _troubles(account_id: int) -> str:
    rows = Checkpoint.objects.filter(account_id=account_id).exclude(reason="").order_by("mailbox__name")
    return "; ".join(f"{name}: {reason}" for name, reason in rows.values_list("mailbox__name", "reason")[:10])


def _is_asked_for(account_id: int) -> bool:
    now = timezone.now()
    if Checkpoint.objects.wanted(now).filter(account_id=account_id).exists():
        return True
    return Account.objects.syncable().filter(pk=account_id, next_sync_at__lte=now).exists()
