"""Local changes in words, for the console and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min
from django.utils import timezone

from imapped_site.units import age, decimal
from mailcache.flags import FlagSet
from mailcache.models import Account, Mutation, MutationKind, MutationState


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The replay queue of one account: how many changes wait, how many are parked, and since when the oldest does."""

    waiting: int
    parked: int
    oldest_at: datetime | None

    @property
    def summary(self) -> str:
        """The queue in one sentence."""
        if self.oldest_at is None:
            return "nothing to replay"
        parked = f", {decimal(self.parked)} parked" if self.parked else ""
        return f"{decimal(self.waiting)} waiting{parked}; the oldest is from {age(timezone.now(), self.oldest_at)}"


def read_queue(account: Account) -> QueueStatus:
    """Return how the account's queue is doing."""
    rows = Mutation.objects.unsettled(account.pk).order_by().values_list("state")
    counts = {state: (count, oldest) for state, count, oldest in rows.annotate(Count("pk"), Min("created_at"))}
    parked = counts.get(MutationState.PARKED.value, (0, None))[0]
    dates = [oldest for _, oldest in counts.values() if oldest is not None]
    waiting = sum(count for count, _ in counts.values()) - parked
    return QueueStatus(waiting, parked, min(dates, default=None))


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
