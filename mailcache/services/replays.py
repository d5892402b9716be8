"""How the replay of an account went."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q

from mailcache.models import Account, Mutation, MutationState
from mailcache.services import leases
from mailcache.services.leases import Fence


@transaction.atomic
def record_replay_success(*, fence: Fence, next_replay_at: datetime | None) -> None:
    """Note that all was done that could be, and when to look again at what could not."""
    leases.check(fence)
    Account.objects.filter(pk=fence.account_id).update(
        replay_failures=0, next_replay_at=next_replay_at, replay_reason=""
    )


@transaction.atomic
def claim_due_replays(*, now: datetime, grace: timedelta, claim: timedelta, limit: int) -> list[int]:
    """Return accounts with changes that should have been replayed, and put their next look off by ``claim``.

    ``grace``: how long the message that is sent after a change may take.
    """
    waiting = Mutation.objects.filter(
        account_id=OuterRef("pk"),
        state__in=(MutationState.PENDING, MutationState.SENT),
        next_try_at__lte=now - grace,
    )
    due = Account.objects.replayable().filter(Q(next_replay_at__isnull=True) | Q(next_replay_at__lte=now))
    rows = due.filter(Exists(waiting)).order_by(F("next_replay_at").asc(nulls_first=True))
    found = list(
        rows.select_for_update(skip_locked=True, no_key=True, of=("self",)).values_list("pk", flat=True)[:limit]
    )
    Account.objects.filter(pk__in=found).update(next_replay_at=now + claim)
    return found


@transaction.atomic
def postpone_replay(*, account_id: int, until: datetime) -> None:
    """Have replay looked at again at ``until``: there was no connection for it, through no fault of anybody."""
    Account.objects.filter(pk=account_id).update(next_replay_at=until)


@transaction.atomic
def record_replay_failure(*, fence: Fence, reason: str, next_replay_at: datetime) -> None:
    """Note why it could not, and when to try again: once for all changes that wait."""
    leases.check(fence)
    Account.objects.filter(pk=fence.account_id).update(
        replay_failures=F("replay_failures") + 1, next_replay_at=next_replay_at, replay_reason=reason[:2000]
    )


@transaction.atomic
def pause_replay(*, account_id: int, paused: bool) -> None:
    """Stop or resume replaying an account; a running slice ends at its next commit point."""
    Account.objects.filter(pk=account_id).update(replay_paused=paused)
