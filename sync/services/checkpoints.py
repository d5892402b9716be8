"""Checkpoints: what a comparison found, why one failed, and that one is wanted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Max
from django.utils import timezone

from mailcache.models import Account, Mailbox, MailboxRole
from mailcache.services import leases
from mailcache.services.ingest_skeleton import set_upstream_uidvalidity
from mailcache.services.leases import Fence
from mailcache.wire.number_set import MAX_NUMBER, NumberSet
from sync.flag_polling import FlagScope
from sync.guards import MOST_RENUMBERINGS, FirstSight, renumberings
from sync.models import Checkpoint
from sync.tiers import UpstreamState


@dataclass(frozen=True, slots=True)
class Finding:
    """What one comparison did with flags and deletions. Its numbers are kept only where nothing is ``trouble``."""

    flags: FlagScope = FlagScope.NONE
    """Whose flags agree with the upstream's now."""
    flags_changed: bool = False
    held_back: Collection[int] = ()
    """Upstream UIDs of a mass deletion that has to be seen once more."""
    trouble: str = ""
    """Why not everything could be taken over."""


@transaction.atomic
def note_compared(
    *, fence: Fence, before: Checkpoint, state: UpstreamState, compared_at: datetime, finding: Finding | None = None
) -> None:
    """Note a finished comparison. ``before`` is the checkpoint as read before it; a newer want of the mailbox stays.

    Where deletions were held back or something was left out the upstream's numbers stay as they were: what they would
    claim is not here.
    """
    leases.check(fence)
    finding = finding or Finding()
    values: dict[str, object] = {
        "compared_at": compared_at,
        "failures": before.failures + 1 if finding.trouble else 0,
        "reason": finding.trouble or _reason(finding),
        "retry_at": None,
        **_flag_dates(before, finding, compared_at),
        **_held_back(before, finding, compared_at),
    }
    if not finding.trouble and not finding.held_back:
        values |= _numbers(before, state)
    rows = Checkpoint.objects.filter(pk=before.pk)
    rows.update(**values)
    rows.filter(wanted_at=before.wanted_at).update(wanted_at=None)


def _numbers(before: Checkpoint, state: UpstreamState) -> dict[str, object]:
    same = before.uidvalidity == state.uidvalidity
    # A connection without CONDSTORE tells none; the one of the last that did stays good to read from (quirk 45).
    modseq = state.highestmodseq or (before.highestmodseq if same else None)
    values: dict[str, object] = {
        "uidvalidity": state.uidvalidity,
        # An upstream that tells none told nothing of an empty mailbox (quirk 38).
        "uidnext": state.uidnext or (before.uidnext if same else None) or 1,
        "highestmodseq": modseq,
        "older_highestmodseq": before.highestmodseq if same else None,
        "exists": state.exists,
    }
    if before.full_wanted:
        values["full_wanted"] = False
    return values


def _flag_dates(before: Checkpoint, finding: Finding, compared_at: datetime) -> dict[str, object]:
    dates: dict[str, object] = {}
    if finding.flags_changed or (finding.flags == FlagScope.ALL and before.flags_changed_at is None):
        dates["flags_changed_at"] = compared_at
    if finding.flags >= FlagScope.RECENT:
        dates["recent_flags_at"] = compared_at
    if finding.flags == FlagScope.ALL:
        dates |= {"flags_compared_at": compared_at, "flags_below": None, "flags_modseq": None}
    return dates


def _held_back(before: Checkpoint, finding: Finding, seen_at: datetime) -> dict[str, object]:
    if not finding.held_back:
        return {"gone_uids": "", "gone_seen_at": None, "gone_confirmed": False}
    uids = NumberSet.from_numbers(finding.held_back)
    first = first_sight(before)
    if first is not None and not first.uids - uids:
        return {}
    return {"gone_uids": str(uids), "gone_seen_at": seen_at}


def first_sight(checkpoint: Checkpoint) -> FirstSight | None:
    """Return the mass deletion that is held back in this mailbox, if any."""
    if checkpoint.gone_seen_at is None:
        return None
    return FirstSight(NumberSet.parse(checkpoint.gone_uids, max_ranges=MAX_NUMBER), checkpoint.gone_seen_at)


def _reason(finding: Finding) -> str:
    if not finding.held_back:
        return ""
    return (
        f"{len(finding.held_back)} messages are gone at once: they stay until that is seen a second time or confirmed"
    )


@transaction.atomic
def begin_numbering(*, fence: Fence, before: Checkpoint, mailbox: Mailbox, state: UpstreamState, held: int) -> bool:
    """Take over a UIDVALIDITY that is not the checkpoint's; False where the upstream changes it too often.

    What the checkpoint says of the earlier numbering goes. HIGHESTMODSEQ as it is before the first message is read is
    kept: a comparison that is cut off goes on with what changed since. Not where messages of this numbering are here
    (``held``) from an earlier time.
    """
    leases.check(fence)
    values: dict[str, object] = {}
    if mailbox.upstream_uidvalidity not in (None, state.uidvalidity):
        now = timezone.now()
        changes = renumberings(before.uidvalidity_changes, before.uidvalidity_changed_at, now=now)
        if changes > MOST_RENUMBERINGS:
            return False
        values = {"uidvalidity_changes": changes, "uidvalidity_changed_at": now}
    values |= {
        "uidvalidity": state.uidvalidity,
        "uidnext": None,
        "exists": None,
        "highestmodseq": None if held else state.highestmodseq,
        "older_highestmodseq": None,
        "flags_compared_at": None,
        "recent_flags_at": None,
        "flags_below": None,
        "flags_modseq": None,
    }
    set_upstream_uidvalidity(fence=fence, mailbox_id=mailbox.pk, uidvalidity=state.uidvalidity)
    _write(before, values)
    mailbox.upstream_uidvalidity = state.uidvalidity
    return True


@transaction.atomic
def note_flags_below(*, fence: Fence, before: Checkpoint, uid: int, modseq: int | None) -> None:
    """Note that the flags of all messages from this upstream UID up have been read, so that the rest can follow.

    ``modseq`` is HIGHESTMODSEQ as it was when this reading began, maybe in an earlier slice.
    """
    leases.check(fence)
    Checkpoint.objects.filter(pk=before.pk).update(flags_below=uid, flags_modseq=modseq)


@transaction.atomic
def begin_full(*, fence: Fence, before: Checkpoint) -> None:
    """Note that a comparison of everything has begun: flags that were read before do not count for it."""
    leases.check(fence)
    _write(before, {"flags_compared_at": None, "flags_below": None, "flags_modseq": None})


def _write(checkpoint: Checkpoint, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        setattr(checkpoint, name, value)
    checkpoint.save(update_fields=list(values))


@transaction.atomic
def confirm_deletion(*, fence: Fence, before: Checkpoint) -> None:
    """Note that the mass deletion which was held back is meant; holds until a comparison has finished."""
    leases.check(fence)
    _write(before, {"gone_confirmed": True})


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
def want_filled(*, fence: Fence, mailbox_ids: Collection[int]) -> None:
    """Have label mailboxes filled that showed no label before."""
    leases.check(fence)
    Checkpoint.objects.filter(account_id=fence.account_id, mailbox_id__in=mailbox_ids).update(full_wanted=True)


@transaction.atomic
def note_filled(*, fence: Fence, mailbox_id: int | None = None) -> None:
    """Note that label mailboxes, or one of them, are as far as All Mail is: they are never compared themselves."""
    leases.check(fence)
    mailboxes = Mailbox.objects.mirrored(fence.account_id)
    source = Checkpoint.objects.filter(account_id=fence.account_id, mailbox__role=MailboxRole.ALL)
    labelled = mailboxes.exclude(label="") if mailbox_id is None else mailboxes.filter(pk=mailbox_id)
    compared_at = source.aggregate(at=Max("compared_at"))["at"]
    Checkpoint.objects.bulk_create(
        [
            Checkpoint(account_id=fence.account_id, mailbox_id=pk, compared_at=compared_at)
            for pk in labelled.values_list("pk", flat=True)
        ],
        update_conflicts=True,
        unique_fields=["account", "mailbox"],
        update_fields=["compared_at", "full_wanted", "failures", "reason", "retry_at", "wanted_at"],
    )


@transaction.atomic
def want_mailboxes(*, account_id: int, mailbox_ids: Collection[int]) -> int:
    """Note that the upstream spoke of these mailboxes; returns how many of them can be compared.

    What label mailboxes show is compared in All Mail.
    """
    mirrored = Mailbox.objects.mirrored(account_id)
    asked = mirrored.filter(pk__in=mailbox_ids)
    here = set(asked.filter(label="").values_list("pk", flat=True))
    if asked.exclude(label="").exists():
        here.update(mirrored.filter(role=MailboxRole.ALL).values_list("pk", flat=True))
    wants = [Checkpoint(account_id=account_id, mailbox_id=pk, wanted_at=timezone.now()) for pk in sorted(here)]
    Checkpoint.objects.bulk_create(
        wants, update_conflicts=True, unique_fields=["account", "mailbox"], update_fields=["wanted_at"]
    )
    return len(wants)


@transaction.atomic
def want_mailbox(*, account_id: int, mailbox_id: int) -> None:
    """Note that a mailbox has to be compared: replay found it other than it is here."""
    Checkpoint.objects.update_or_create(
        account_id=account_id, mailbox_id=mailbox_id, defaults={"wanted_at": timezone.now()}
    )


@transaction.atomic
def reclaim_wanted(*, now: datetime, older_than: timedelta, limit: int) -> list[int]:
    """Return accounts with wants that no run has looked at for a while, and give these wants a new date."""
    due = Checkpoint.objects.wanted(now).filter(wanted_at__lt=now - older_than, account__in=Account.objects.syncable())
    rows = list(
        due.order_by("wanted_at")
        .select_for_update(skip_locked=True, of=("self",))
        .values_list("pk", "account_id")[:limit]
    )
    Checkpoint.objects.filter(pk__in=[pk for pk, _ in rows]).update(wanted_at=now)
    return list(dict.fromkeys(account_id for _, account_id in rows))
