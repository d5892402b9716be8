"""One slice of the replay of one account: what clients did here goes upstream, under the account's replay lease."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum
from random import Random

from django.utils import timezone

from mailcache.errors import LeaseLost, SealBroken
from mailcache.models import Account, AccountState, LeaseKind, Mailbox
from mailcache.services import leases
from mailcache.services.accounts import record_sync_failure
from mailcache.services.leases import Fence
from mailcache.services.replays import postpone_replay, record_replay_failure, record_replay_success
from mailcache.services.settlement import forget_cancelled
from mailcache.services.vanished import settle_vanished
from sync import backoff, scheduling, stopping
from sync.connection import UpstreamSession, new_holder
from sync.errors import NoConnectionFree, SliceOver
from sync.faults import describe
from sync.heartbeat import Heartbeat
from sync.lanes import Lane, slow_accounts
from sync.models import Purpose
from sync.replay import turns
from sync.replay.append import replay_append
from sync.replay.expunge import replay_expunge
from sync.replay.labels import replay_labels
from sync.replay.lookup import look_up
from sync.replay.mailboxes import replay_mailbox
from sync.replay.plan import Kind, Plan, Step, plan_replay
from sync.replay.queue import WINDOW, Seen, has_due, load_queue, lost_transfers
from sync.replay.store import replay_store
from sync.replay.transfer import replay_transfer
from sync.replay.work import ReplayWork, in_transactions
from sync.services.upstream_notes import note_slow
from sync.services.usage import record_usage
from sync.slice_connections import SliceConnections
from sync.upstream.errors import (
    AuthFailed,
    CommandRefused,
    ConnectFailed,
    Severity,
    TemporarilyRefused,
    TimedOut,
    TlsFailed,
    UpstreamError,
    suggested_pause,
)

logger = logging.getLogger(__name__)

SLICE_SECONDS = 20.0
# So often in one slice a connection that broke in the middle of something is replaced.
_REPLACED = 3
_LOOK_AGAIN = timedelta(seconds=1)
# Nothing was sent: no change is to blame.
_NO_WAY = (AuthFailed, ConnectFailed, TlsFailed, TemporarilyRefused)

_EXECUTORS: dict[Kind, Callable[[ReplayWork, Step], None]] = {
    Kind.STORE: replay_store,
    Kind.APPEND: replay_append,
    Kind.COPY: replay_transfer,
    Kind.MOVE: replay_transfer,
    Kind.EXPUNGE: replay_expunge,
    Kind.LABEL: replay_labels,
    Kind.UNLABEL: replay_labels,
    **dict.fromkeys((Kind.CREATE, Kind.DELETE, Kind.RENAME, Kind.SUBSCRIBE, Kind.UNSUBSCRIBE), replay_mailbox),
}


class ReplayEnd(Enum):
    """What a slice leaves behind."""

    DONE = "all that could be done is done"
    MORE = "work remains: the next slice should follow"
    FAILED = "failed; the account has its reason and its next date"
    STOPPED = "nothing may be replayed now"
    BUSY = "somebody else replays this account"
    CROWDED = "all connections that the account or its host may have are in use"
    SLOW = "the upstream is too slow for this lane: the slow lane goes on"
    LOST = "somebody else has taken the account over"


def run_replay(
    account_id: int,
    *,
    seconds: float = SLICE_SECONDS,
    lane: Lane = Lane.FAST,
    force: bool = False,
    rng: Random | None = None,
) -> ReplayEnd:
    """Replay what waits of an account, for about ``seconds``.

    An upstream that could not be reached is left alone until its next date, unless ``force``: that has come, or
    somebody knows that it is back. Faults of the upstream end up in the account's row; only faults of ours are raised.
    """
    rng = rng or Random()  # noqa: S311 - jitter, not a secret
    account = Account.objects.replayable().filter(pk=account_id).first()
    now = timezone.now()
    if account is None or not has_due(account_id, now) or (not force and _is_left_alone(account, now)):
        return ReplayEnd.STOPPED
    if lane is Lane.FAST and slow_accounts([account_id], now):
        return ReplayEnd.SLOW
    fence = leases.acquire(account_id=account_id, kind=LeaseKind.REPLAY, holder=new_holder())
    if fence is None:
        return ReplayEnd.BUSY
    connections = SliceConnections(account, holder=fence.holder, lane=lane, rng=rng)
    try:
        upstream = connections.open(Purpose.REPLAY)
        if not upstream.reserve():
            return _make_way_for(account_id)
        turns.forget(account_id)
        with stopping.ending_in_order():
            replay = _Slice(account, fence, connections, upstream, lane, rng)
            end = replay.run(seconds)
    except LeaseLost as error:
        logger.warning("account %s: %s", account_id, error)
        return ReplayEnd.LOST
    finally:
        connections.close()
        leases.release(fence)
    # Whoever queued something while the lease was held found it busy and relies on this look.
    return ReplayEnd.MORE if end is ReplayEnd.DONE and replay.seen.has_news(account_id) else end


def _is_left_alone(account: Account, now: datetime) -> bool:
    return bool(account.replay_failures) and account.next_replay_at is not None and account.next_replay_at > now


def _make_way_for(account_id: int) -> ReplayEnd:
    """Ask for a connection, and look again soon."""
    turns.ask(account_id)
    postpone_replay(account_id=account_id, until=timezone.now() + _LOOK_AGAIN)
    return ReplayEnd.CROWDED


class _Slice:
    """The work of one slice, and its outcome in the database on every way out."""

    def __init__(
        self,
        account: Account,
        fence: Fence,
        connections: SliceConnections,
        upstream: UpstreamSession,
        lane: Lane,
        rng: Random,
    ) -> None:
        self._account = account
        self._fence = fence
        self._connections = connections
        self._upstream = upstream
        self._lane = lane
        self._rng = rng
        self._replaced = 0
        self.seen = Seen(0, timezone.now())
        """How much of the queue was planned last."""

    def run(self, seconds: float) -> ReplayEnd:
        """Work until nothing is left to do, until the time is up, or until the upstream cannot be reached."""
        heartbeat = Heartbeat(self._fence, on_beat=self._beat, abort=self._connections.abort)
        work = ReplayWork(
            account=self._account,
            fence=self._fence,
            upstream=self._upstream,
            rng=self._rng,
            deadline=time.monotonic() + seconds,
            must_stop=lambda: heartbeat.must_stop() or stopping.is_stopping(),
        )
        try:
            with heartbeat:
                self._drain(work)
        except SliceOver:
            return ReplayEnd.STOPPED if heartbeat.must_stop() else ReplayEnd.MORE
        except NoConnectionFree:
            return _make_way_for(self._account.pk)
        except (UpstreamError, SealBroken) as error:
            return self._end_of(error)
        finally:
            self._connections.close()
            self._record_usage()
            if work.wanted:
                scheduling.enqueue(self._account.pk, full=False, urgent=True)
        record_replay_success(fence=self._fence, next_replay_at=self.seen.next_look(self._account.pk))
        return ReplayEnd.DONE

    def _drain(self, work: ReplayWork) -> None:
        is_later = False
        while True:
            now = timezone.now()
            # Their messages went while they waited: nothing else will be heard of them.
            for ids in in_transactions(lost_transfers(self._account.pk)):
                settle_vanished(fence=self._fence, ids=ids)
            plan = self._next_plan(now)
            for ids in in_transactions(sorted(plan.cancelled)):
                forget_cancelled(fence=self._fence, ids=ids)
            if not plan.steps and not plan.cancelled:
                return
            if is_later:
                # What is to be changed now may have arrived since the mailbox was opened.
                self._refresh()
            is_later = True
            failed_at: int | None = None
            for step in plan.steps:
                # What comes after something that failed may depend on it: that is planned anew.
                if failed_at is not None and step.level > failed_at:
                    break
                work.pause_point()
                self._perform(work, step)
                if work.take_failed():
                    failed_at = step.level

    def _next_plan(self, now: datetime) -> Plan:
        """Plan a beginning of the queue that has something to do, if there is one."""
        window = WINDOW
        while True:
            queue, is_all = load_queue(self._account.pk, now, window=window)
            plan = plan_replay(queue)
            if plan.steps or plan.cancelled or is_all:
                self.seen = Seen(queue[-1].id if queue else 0, now)
                return plan
            window *= 2

    def _refresh(self) -> None:
        try:
            self._upstream.refresh()
        except UpstreamError:
            # The next command finds out what is wrong, on another connection.
            self._upstream.drop()

    def _perform(self, work: ReplayWork, step: Step) -> None:
        try:
            executor = look_up if step.sent else _EXECUTORS[step.kind]
            executor(work, step)
        except Mailbox.DoesNotExist:
            # A sync has removed it meanwhile, with all that was queued for it.
            logger.info("account %s: a mailbox went while changes of it were replayed", self._account.pk)
        except CommandRefused as error:
            if error.before_login:
                raise
            # A mailbox that cannot be opened, or not be asked about: what was sent before is looked for later.
            work.not_asked(step.members, error)
        except UpstreamError as error:
            self._upstream.drop()
            if error.before_login or isinstance(error, _NO_WAY) or error.severity == Severity.ACCOUNT:
                raise
            work.lost(step.members, error)
            self._replaced += 1
            if self._replaced > _REPLACED or (isinstance(error, TimedOut) and self._lane is Lane.FAST):
                raise

    def _end_of(self, error: UpstreamError | SealBroken) -> ReplayEnd:
        # A connection that broke because the lease was lost is not the upstream's fault.
        leases.renew(self._fence)
        if stopping.is_stopping():
            return ReplayEnd.MORE
        account = self._account
        if self._lane is Lane.FAST and isinstance(error, TimedOut):
            note_slow(account_id=account.pk, host=account.host)
            return ReplayEnd.SLOW
        logger.warning("account %s: replay failed: %s: %s", account.pk, type(error).__name__, describe(error))
        delay = backoff.replay_delay(account.replay_failures + 1, self._rng)
        asked_for = suggested_pause(describe(error)) if isinstance(error, UpstreamError) else None
        delay = max(delay, timedelta(seconds=asked_for or 0))
        now = timezone.now()
        is_away = isinstance(error, UpstreamError) and error.is_away and error.severity == Severity.TRANSIENT
        record_replay_failure(fence=self._fence, reason=describe(error), next_replay_at=now + delay, is_away=is_away)
        if isinstance(error, AuthFailed):
            record_sync_failure(
                fence=self._fence, state=AccountState.AUTH_FAILED, reason=describe(error), next_sync_at=now
            )
        return ReplayEnd.FAILED

    def _beat(self) -> None:
        self._connections.renew_slots()
        self._record_usage()

    def _record_usage(self) -> None:
        usage = self._connections.new_usage()
        record_usage(account_id=self._account.pk, day=timezone.now().date(), by_command=usage)
