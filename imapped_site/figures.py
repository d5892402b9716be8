"""Figures of the whole installation: few statements, each answered from an index or a small table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Min, Sum
from django.utils import timezone

from mailcache.models import Account, AccountState, Listing, Mailbox, Mutation, MutationState, ParkedCause
from sync.models import Checkpoint, ConnectionSlot, FailureCause, Purpose, SyncOutcome, SyncRun

Labelled = tuple[tuple[str, int], ...]
"""A number for every value of a label, zeros included, so that no series comes and goes."""

_PAUSED = "paused"
_UNSETTLED = (MutationState.PENDING, MutationState.SENT, MutationState.PARKED)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one look at the database told."""

    accounts: Labelled
    overdue: int
    mailboxes: int
    messages: int
    message_bytes: int
    waiting: Labelled
    mutations: Labelled
    parked_mutations: Labelled
    oldest_mutation_seconds: float
    runs: Labelled
    failures: Labelled
    stale_runs: int
    parked_messages: int
    audit_differences: int
    connections: Labelled
    slow_accounts: int


def read_figures() -> Figures:
    """Read everything now."""
    now = timezone.now()
    mailboxes = Mailbox.objects.aggregate(total=Count("pk"), messages=Sum("messages"), bytes=Sum("bytes"))
    oldest = Mutation.objects.filter(state__in=_UNSETTLED).aggregate(oldest=Min("created_at"))["oldest"]
    return Figures(
        accounts=_accounts(),
        overdue=Account.objects.syncable().filter(next_sync_at__lt=now - _patience()).count(),
        mailboxes=mailboxes["total"],
        messages=mailboxes["messages"] or 0,
        message_bytes=mailboxes["bytes"] or 0,
        waiting=_waiting(),
        mutations=_every(MutationState.values, Mutation.objects.values_list("state").annotate(Count("pk"))),
        parked_mutations=_parked_mutations(),
        oldest_mutation_seconds=(now - oldest).total_seconds() if oldest else 0.0,
        runs=_runs(now),
        failures=_failures(now),
        stale_runs=SyncRun.objects.stale(now).count(),
        parked_messages=Listing.objects.exclude(parked_reason="").count(),
        audit_differences=_audit_differences(),
        connections=_connections(now),
        slow_accounts=Account.objects.filter(slow_until__gt=now).count(),
    )


def _accounts() -> Labelled:
    """Count accounts by state; a paused one counts as paused, whatever its state."""
    rows = Account.objects.filter(sync_paused=False).values_list("state").annotate(Count("pk"))
    paused = Account.objects.filter(sync_paused=True).count()
    return (*_every(AccountState.values, rows), (_PAUSED, paused))


def _waiting() -> Labelled:
    """Count what is to be fetched. Three statements, so that each is answered from its index alone."""
    return (
        ("body", Listing.objects.count()),
        ("header", Listing.objects.filter(header__isnull=True).count()),
        ("wanted_body", Listing.objects.filter(wanted_at__isnull=False).count()),
    )


def _parked_mutations() -> Labelled:
    parked = Mutation.objects.filter(state=MutationState.PARKED).values_list("parked_cause").annotate(Count("pk"))
    return _every([cause for cause in ParkedCause.values if cause != ParkedCause.NONE], parked)


def _runs(now: datetime) -> Labelled:
    rows = SyncRun.objects.filter(started_at__gte=now - _DAY).values_list("outcome").annotate(Count("pk"))
    return _every(SyncOutcome.values, rows)


def _failures(now: datetime) -> Labelled:
    """Count failed runs of the last day, each of which was or will be retried, by cause."""
    failed = SyncRun.objects.filter(started_at__gte=now - _DAY, outcome=SyncOutcome.FAILED)
    causes = [cause for cause in FailureCause.values if cause != FailureCause.NONE]
    return _every(causes, failed.values_list("cause").annotate(Count("pk")))


def _audit_differences() -> int:
    differed = Checkpoint.objects.filter(audit_differences__gt=0)
    return int(differed.aggregate(total=Sum("audit_differences", default=0))["total"])


def _connections(now: datetime) -> Labelled:
    """Count the right to connections; a lapsed one is nobody's."""
    rows = ConnectionSlot.objects.filter(expires_at__gt=now).values_list("purpose").annotate(Count("pk"))
    return _every(Purpose.values, rows)


def _every(labels: Iterable[str], rows: Iterable[tuple[str, int]]) -> Labelled:
    found = dict(rows)
    return tuple((label, found.get(label, 0)) for label in labels)


def _patience() -> timedelta:
    """How late a sync may be before somebody should look: busy workers are late, too."""
    return 2 * timedelta(seconds=settings.PERIODIC_SYNC_INTERVAL_SECONDS)
