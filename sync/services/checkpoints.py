"""Checkpoints: what a comparison found, why one failed, and that one is wanted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from mailcache.models import Mailbox
from mailcache.services import leases
from mailcache.services.leases import Fence
from sync.models import Checkpoint


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """What SELECT or EXAMINE said of a mailbox."""

    uidvalidity: int
    uidnext: int | None
    highestmodseq: int | None
    exists: int


@transaction.atomic
def note_compared(
    *,
    fence: Fence,
    before: Checkpoint,
    state: UpstreamState,
    compared_at: datetime,
    seen_empty: bool = False,
    trouble: str = "",
) -> None:
    """Note a finished comparison. ``before`` is the checkpoint as read before it; a newer want of the mailbox stays.

    With ``seen_empty`` nothing was taken over, with ``trouble`` not everything: the upstream's numbers stay as they
    were.
    """
    leases.check(fence)
    values: dict[str, object] = {
        "compared_at": compared_at,
        "failures": before.failures + 1 if trouble else 0,
        "reason": trouble,
        "retry_at": None,
        "seen_empty_at": (before.seen_empty_at or compared_at) if seen_empty else None,
    }
    if not seen_empty and not trouble:
        values |= {
            "uidvalidity": state.uidvalidity,
            "uidnext": state.uidnext,
            "highestmodseq": state.highestmodseq,
            "exists": state.exists,
        }
    rows = Checkpoint.objects.filter(pk=before.pk)
    rows.update(**values)
    rows.filter(wanted_at=before.wanted_at).update(wanted_at=None)


@transaction.atomic
def note_failed(*, fence: Fence, mailbox_id: int, reason: str, retry_at: datetime) -> None:
    """Leave one mailbox alone until ``retry_at``."""
    leases.check(fence)
    Checkpoint.objects.filter(account_id=fence.account_id, mailbox_id=mailbox_id).update(
        failures=F("failures") + 1, reason=reason[:2000], retry_at=retry_at
    )


@transaction.atomic
def checkpoint_of(*, fence: Fence, mailbox_id: int) -> Checkpoint:
    """Return the mailbox's checkpoint, made on first use."""
    leases.check(fence)
    return Checkpoint.objects.get_or_create(account_id=fence.account_id, mailbox_id=mailbox_id)[0]


@transaction.atomic
def want_mailboxes(*, account_id: int, mailbox_ids: Collection[int]) -> int:
    """Note that the upstream spoke of these mailboxes; returns how many of them can be compared."""
    here = Mailbox.objects.mirrored(account_id).filter(pk__in=mailbox_ids).order_by("pk").values_list("pk", flat=True)
    wants = [Checkpoint(account_id=account_id, mailbox_id=pk, wanted_at=timezone.now()) for pk in here]
    Checkpoint.objects.bulk_create(
        wants, update_conflicts=True, unique_fields=["account", "mailbox"], update_fields=["wanted_at"]
    )
    return len(wants)


@transaction.atomic
def reclaim_wanted(*, now: datetime, older_than: timedelta, limit: int) -> list[int]:
    """Return accounts with wants that no run has looked at for a while, and give these wants a new date."""
    due = Checkpoint.objects.wanted(now).filter(wanted_at__lt=now - older_than)
    rows = list(
        due.order_by("wanted_at")
        .select_for_update(skip_locked=True, of=("self",))
        .values_list("pk", "account_id")[:limit]
    )
    Checkpoint.objects.filter(pk__in=[pk for pk, _ in rows]).update(wanted_at=now)
    return list(dict.fromkeys(account_id for _, account_id in rows))
