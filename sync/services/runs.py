"""Runs: beginning, heartbeat and end, and the claim on the account's next date.

While a full run works, ``Account.next_sync_at`` lies a little in the future and is moved on by the heartbeat: when the
worker dies the account becomes due by itself. Whoever asks for a sync in the meantime moves it, and the run notices at
its end that it is not the last word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from mailcache.models import Account, AccountState
from mailcache.services import leases
from mailcache.services.accounts import record_sync_failure, record_sync_success
from mailcache.services.leases import Fence
from sync.models import STALE_AFTER, FailureCause, SyncKind, SyncOutcome, SyncRun

# Longer than the lease, so that whoever finds the account due can take it.
CLAIM = timedelta(seconds=45)
# Between slices the next one may wait in a queue; after this long its message is taken for lost.
QUEUED_CLAIM = timedelta(seconds=300)
_KEPT = timedelta(days=30)


@dataclass(slots=True)
class Counters:
    """What a run has done so far."""

    messages_added: int = 0
    flags_changed: int = 0
    messages_removed: int = 0
    headers_added: int = 0
    bodies_added: int = 0
    bodies_parked: int = 0
    sizes_corrected: int = 0
    commands: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    @classmethod
    def of(cls, run: SyncRun) -> Counters:
        """Return the counters that a run already has."""
        return cls(*(getattr(run, name) for name in cls.__slots__))


def total(parts: Iterable[Counters]) -> Counters:
    """Return the sum of several counters."""
    rows = [astuple(part) for part in parts]
    return Counters(*(sum(column) for column in zip(*rows, strict=True)))


@transaction.atomic
def begin_slice(*, fence: Fence, full: bool, now: datetime) -> SyncRun:
    """Continue the account's open run, or begin one; ``full``, or being due, makes it compare all mailboxes anew."""
    leases.check(fence)
    account = Account.objects.select_for_update(no_key=True).get(pk=fence.account_id)
    run = SyncRun.objects.open().filter(account=account).first()
    if run is not None and run.heartbeat_at < now - STALE_AFTER:
        _close(run, SyncOutcome.ABANDONED, "no sign of life", now)
        run = None
    asked = full or account.next_sync_at <= now
    if run is None:
        SyncRun.objects.filter(account=account, started_at__lt=now - _KEPT).delete()
        run = SyncRun(account=account, kind=SyncKind.FULL if asked else SyncKind.CHANGED, compare_since=now)
    elif asked or (run.kind == SyncKind.FULL and run.claim != account.next_sync_at):
        run.kind, run.compare_since, run.listed_at = SyncKind.FULL, now, None
    run.outcome, run.reason = SyncOutcome.RUNNING, ""
    run.claim = account.next_sync_at
    if run.kind == SyncKind.FULL:
        run.claim = now + CLAIM
        Account.objects.filter(pk=account.pk).update(next_sync_at=run.claim)
    run.slices += 1
    run.heartbeat_at = now
    run.save()
    return run


@transaction.atomic
def beat(*, run: SyncRun, counters: Counters, remaining: int | None = None, claim_for: timedelta = CLAIM) -> None:
    """Show that the run is alive, publish its counters, and prolong its claim unless somebody asked for a sync."""
    now = timezone.now()
    if run.kind == SyncKind.FULL:
        claim = now + claim_for
        if run.claim and Account.objects.filter(pk=run.account_id, next_sync_at=run.claim).update(next_sync_at=claim):
            run.claim = claim
    if remaining is not None:
        run.bodies_remaining = remaining
    SyncRun.objects.filter(pk=run.pk).update(
        heartbeat_at=now, claim=run.claim, bodies_remaining=run.bodies_remaining, **asdict(counters)
    )


@transaction.atomic
def note_trouble(*, fence: Fence, run: SyncRun, reason: str) -> None:
    """Show at once that something of a run failed, though the run goes on (field note 29)."""
    leases.check(fence)
    SyncRun.objects.filter(pk=run.pk, finished_at__isnull=True).update(reason=reason[:2000])


@transaction.atomic
def interrupt_run(*, fence: Fence, run: SyncRun, counters: Counters, reason: str) -> None:
    """Note that the worker of a run was stopped; the account is due at once, so that the next worker goes on."""
    beat(run=run, counters=counters, claim_for=timedelta())
    leases.check(fence)
    SyncRun.objects.filter(pk=run.pk).update(outcome=SyncOutcome.INTERRUPTED, reason=reason)


@transaction.atomic
def postpone_slice(*, account_id: int, until: datetime, full: bool) -> None:
    """Have the next slice of an account begin at ``until``: it could not begin now, through no fault of anybody.

    What was asked for stays asked for; a run that is under way goes on where it was.
    """
    account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
    run = SyncRun.objects.open().filter(account=account).first()
    is_continued = run is not None and run.kind == SyncKind.FULL and run.claim == account.next_sync_at
    if not full and not is_continued:
        return
    Account.objects.filter(pk=account.pk).update(next_sync_at=until)
    if is_continued and not full:
        SyncRun.objects.open().filter(account=account).update(claim=until)


@transaction.atomic
def move_claims(*, dates: Mapping[int, datetime], claim: datetime) -> set[int]:
    """Give the open runs whose claim has lapsed a new one; returns their accounts.

    ``dates`` are the accounts' next dates as they were: where a run had set it, nobody has asked for a sync since.
    """
    lapsed = [
        run
        for run in SyncRun.objects.open().filter(account__in=list(dates), kind=SyncKind.FULL)
        if run.claim == dates[run.account_id]
    ]
    SyncRun.objects.filter(pk__in=[run.pk for run in lapsed]).update(claim=claim)
    return {run.account_id for run in lapsed}


@transaction.atomic
def note_listed(*, fence: Fence, run: SyncRun) -> None:
    """Note that this run has taken over the list of mailboxes."""
    leases.check(fence)
    run.listed_at = timezone.now()
    SyncRun.objects.filter(pk=run.pk).update(listed_at=run.listed_at)


@transaction.atomic
def complete_run(
    *,
    fence: Fence,
    run: SyncRun,
    counters: Counters,
    reason: str,
    next_sync_at: datetime,
    not_later_than: datetime | None = None,
) -> None:
    """Note that the run is over and the account in step; ``reason`` names what is not.

    A full run sets the account's next date, unless somebody asked for a sync in the meantime. ``not_later_than`` is
    when something that was put off wants another look.
    """
    leases.check(fence)
    _close(run, SyncOutcome.PARTLY if reason else SyncOutcome.COMPLETED, reason, timezone.now(), counters)
    dates = Account.objects.select_for_update(no_key=True).filter(pk=run.account_id)
    date = dates.values_list("next_sync_at", flat=True).get()
    if run.kind == SyncKind.FULL:
        date = next_sync_at if date == run.claim else date
        record_sync_success(fence=fence, next_sync_at=min(date, not_later_than or date))
    elif not_later_than is not None and not_later_than < date:
        Account.objects.filter(pk=run.account_id).update(next_sync_at=not_later_than)


@transaction.atomic
def fail_run(
    *,
    fence: Fence,
    run: SyncRun,
    counters: Counters,
    state: AccountState,
    reason: str,
    cause: FailureCause,
    next_sync_at: datetime,
) -> None:
    """Note why the run failed and when the account is tried again.

    A request that came meanwhile stays due, and keeps refused credentials from stopping an account that was given new
    ones.
    """
    leases.check(fence)
    run.cause = cause
    _close(run, SyncOutcome.FAILED, reason, timezone.now(), counters)
    account = Account.objects.select_for_update(no_key=True).get(pk=run.account_id)
    asked = account.next_sync_at != run.claim
    record_sync_failure(
        fence=fence,
        state=AccountState.FAILING if asked else state,
        reason=reason,
        next_sync_at=account.next_sync_at if asked else next_sync_at,
    )


@transaction.atomic
def stop_run(*, fence: Fence, run: SyncRun, counters: Counters, reason: str) -> None:
    """Note that the run was ended from outside."""
    leases.check(fence)
    _close(run, SyncOutcome.STOPPED, reason, timezone.now(), counters)


def _close(run: SyncRun, outcome: SyncOutcome, reason: str, now: datetime, counters: Counters | None = None) -> None:
    run.outcome, run.reason, run.finished_at = outcome, reason[:2000], now
    SyncRun.objects.filter(pk=run.pk).update(
        outcome=outcome,
        reason=run.reason,
        cause=run.cause,
        finished_at=now,
        bodies_remaining=run.bodies_remaining,
        **(asdict(counters) if counters else {}),
    )
