"""Local changes in words, for the console and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min
from django.utils import timezone

from imapped_site.distributions import Distribution, read_latency
from imapped_site.units import age, decimal
from mailcache.flags import FlagSet
from mailcache.models import (
    LATENCY_BOUNDS,
    Account,
    Mutation,
    MutationKind,
    MutationState,
    ParkedCause,
    ReplayLatency,
)

_QUICK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The replay queue of one account: how many changes wait, how many are parked, and since when the oldest does."""

    waiting: int
    parked: Mapping[str, int]
    """How many are parked, by cause in words."""
    oldest_at: datetime | None
    latency: Distribution
    paused: bool
    reason: str
    """What keeps replay from the upstream, where something does."""

    @property
    def summary(self) -> str:
        """The queue in one sentence."""
        if self.oldest_at is None:
            return "nothing to replay"
        causes = "; ".join(f"{decimal(number)}: {cause}" for cause, number in self.parked.items())
        parked = f", {decimal(sum(self.parked.values()))} parked ({causes})" if causes else ""
        return f"{decimal(self.waiting)} waiting{parked}; the oldest is from {age(timezone.now(), self.oldest_at)}"

    @property
    def speed(self) -> str:
        """How long changes took so far; empty before the first one."""
        total = self.latency.count
        if not total:
            return ""
        quick = sum(self.latency.counts[: LATENCY_BOUNDS.index(_QUICK_SECONDS) + 1])
        share = f"{quick / total:.0%} within {_QUICK_SECONDS:g} s"
        return f"{decimal(total)} replayed so far, {share}, {self.latency.total / total:.1f} s on average"


def read_queue(account: Account) -> QueueStatus:
    """Return how the account's queue is doing."""
    unsettled = Mutation.objects.unsettled(account.pk).order_by().values_list("state", "parked_cause")
    rows = list(unsettled.annotate(Count("pk"), Min("created_at")).order_by("state", "parked_cause"))
    return QueueStatus(
        waiting=sum(count for state, _, count, _ in rows if state != MutationState.PARKED),
        parked={ParkedCause(cause).label: count for state, cause, count, _ in rows if state == MutationState.PARKED},
        oldest_at=min((oldest for *_, oldest in rows), default=None),
        latency=read_latency(ReplayLatency.objects.filter(account=account)),
        paused=account.replay_paused,
        reason=account.replay_reason,
    )


def describe(mutation: Mutation) -> str:
    """Return what a change does: flags, mailboxes, names."""
    added = FlagSet.of(mutation.add_flags, mutation.add_keywords).render().decode()
    removed = FlagSet.of(mutation.remove_flags, mutation.remove_keywords).render().decode()
    told = [f"{sign}({flags})" for sign, flags in (("+", added), ("-", removed)) if flags]
    if mutation.target is not None and mutation.target_id != mutation.mailbox_id:
        told.append(f"{'from' if mutation.kind == MutationKind.UNLABEL else 'to'} {mutation.target}")
    if "to" in mutation.arguments:
        told.append(f"{mutation.arguments['from']} to {mutation.arguments['to']}")
    return " ".join(told) or "-"
