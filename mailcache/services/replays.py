"""How the replay of an account went."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from mailcache.models import Account, Mutation, MutationState
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.signals import announce_mutations


@transaction.atomic
def record_replay_success(*, fence: Fence, next_replay_at: datetime | None) -> None:
    """Note that all was done that could be, and when to look again at what could not."""
    leases.check(fence)
    Account.objects.filter(pk=fence.account_id).update(
        replay_failures=0, next_replay_at=next_replay_at, replay_reason="", upstream_away=False
    )


@transaction.atomic
def claim_due_replays(*, now: datetime, grace: timedelta, claim: timedelta, limit: int) -> list[int]:
    """Return accounts with changes that should have been replayed, and put their next look off by ``claim``.

    ``grace``: how long the message that is sent after a change may take.
    """
    waiting = _waiting().filter(next_try_at__lte=now - grace)
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
def record_replay_failure(*, fence: Fence, reason: str, next_replay_at: datetime, is_away: bool = False) -> None:
    """Note why it could not, and when to try again: once for all changes that wait.

    ``is_away``: nobody was there, so that somebody should look out for the upstream's return.
    """
    leases.check(fence)
    Account.objects.filter(pk=fence.account_id).update(
        replay_failures=F("replay_failures") + 1,
        next_replay_at=next_replay_at,
        replay_reason=reason[:2000],
        upstream_away=is_away,
    )


def accounts_away() -> list[Account]:
    """Return the accounts with changes that wait for an upstream that is away."""
    rows = Account.objects.replayable().filter(Exists(_waiting()), upstream_away=True)
    return list(rows.defer("sealed_secret").order_by("pk"))


@transaction.atomic
def note_upstream_back(*, account_ids: Collection[int]) -> list[int]:
    """Note that an upstream is there again; returns the accounts whose changes nobody else has sent on their way."""
    away = Account.objects.filter(pk__in=account_ids, upstream_away=True)
    found = list(away.select_for_update(no_key=True).values_list("pk", flat=True))
    Account.objects.filter(pk__in=found).update(upstream_away=False, replay_failures=0, next_replay_at=None)
    return found


@transaction.atomic
def pause_replay(*, account_id: int, paused: bool) -> None:
    """Stop or resume sending local changes upstream, which are accepted and kept all the same.

    A running slice ends at its next commit point.
    """
    Account.objects.filter(pk=account_id).update(replay_paused=paused)
    if not paused:
        transaction.on_commit(partial(announce_mutations, account_id))


def _waiting() -> QuerySet[Mutation]:
    """Return the changes of an account (``pk`` of the outer query) that are to be replayed."""
    states = (MutationState.PENDING, MutationState.SENT)
    return Mutation.objects.filter(account_id=OuterRef("pk"), state__in=states)
