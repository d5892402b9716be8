"""When accounts are audited, and what an audit found."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from mailcache.models import Account, AccountState, Mailbox
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.services.rows import execute
from sync.models import Checkpoint

AUDIT_SECONDS = 3600
_BUSY_AGAIN = timedelta(minutes=5)

# Varied by a tenth, so that accounts do not march in step.
_NEXT = """
    UPDATE mailcache_account
    SET next_audit_at = %(now)s + make_interval(secs => %(seconds)s * (0.9 + 0.2 * random()))
    WHERE id = ANY(%(accounts)s)
"""


@transaction.atomic
def claim_audits(*, now: datetime, limit: int) -> list[int]:
    """Return accounts of which a mailbox is to be audited, the longest due first, and set their next dates."""
    due = Account.objects.syncable().filter(state=AccountState.ACTIVE, next_audit_at__lte=now)
    rows = due.order_by("next_audit_at").select_for_update(skip_locked=True, no_key=True, of=("self",))
    ids = list(rows.values_list("pk", flat=True)[:limit])
    if ids:
        execute(_NEXT, {"now": now, "seconds": AUDIT_SECONDS, "accounts": ids})
    return ids


@transaction.atomic
def put_off_audit(*, account_id: int) -> None:
    """Audit an account a little later: somebody works on it now."""
    Account.objects.filter(pk=account_id).update(next_audit_at=timezone.now() + _BUSY_AGAIN)


def auditable(account_id: int) -> list[Checkpoint]:
    """Return checkpoints of mailboxes that can be audited, the longest not audited first, with their mailboxes.

    Those that a sync has yet to work on differ for good reasons; a label's messages live in another mailbox.
    """
    mailboxes = Mailbox.objects.mirrored(account_id).filter(
        selectable=True, label="", missed_lists=0, sync_paused_reason=""
    )
    settled = Checkpoint.objects.filter(account_id=account_id, mailbox__in=mailboxes, uidvalidity__isnull=False)
    settled = settled.filter(uidvalidity=F("mailbox__upstream_uidvalidity"), failures=0, full_wanted=False)
    settled = settled.filter(wanted_at=None, gone_seen_at=None)
    return list(settled.select_related("mailbox").order_by(F("audited_at").asc(nulls_first=True), "pk"))


@transaction.atomic
def note_audited(*, fence: Fence, checkpoint: Checkpoint, repair: bool, counted: bool) -> None:
    """Note an audit. ``repair`` asks for a comparison that trusts no number, ``counted`` for a line in the figures."""
    leases.check(fence)
    now = timezone.now()
    values: dict[str, object] = {"audited_at": now}
    if repair:
        values |= {"full_wanted": True, "wanted_at": now}
    if counted:
        values["audit_differences"] = F("audit_differences") + 1
    Checkpoint.objects.filter(pk=checkpoint.pk).update(**values)


@transaction.atomic
def note_moved(*, fence: Fence, checkpoint: Checkpoint) -> None:
    """Ask for an ordinary comparison: the mailbox has changed since the last one, so it cannot be audited now."""
    leases.check(fence)
    Checkpoint.objects.filter(pk=checkpoint.pk).update(wanted_at=timezone.now())
