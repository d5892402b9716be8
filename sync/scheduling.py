"""When accounts are synced: asking for it, and finding those that are due.

The database is the truth: a message that the broker loses costs latency, because what it asked for is found again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial

from celery import current_app
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from mailcache.models import Account
from mailcache.services import accounts
from sync.services import runs
from sync.services.checkpoints import reclaim_wanted, want_mailboxes

logger = logging.getLogger(__name__)

SYNC_ACCOUNT = "sync.tasks.sync_account"
# How long a want may lie before its message is taken for lost.
_WANT_LOST_AFTER = timedelta(seconds=30)
_AT_ONCE = 1000


@transaction.atomic
def request_sync(*, account_id: int) -> None:
    """Have all mailboxes of an account compared as soon as a worker is free."""
    accounts.request_sync(account_id=account_id)
    transaction.on_commit(partial(enqueue, account_id, full=True, urgent=True), robust=True)


@transaction.atomic
def request_mailbox_sync(*, account_id: int, mailbox_ids: Collection[int]) -> None:
    """Have some mailboxes compared as soon as a worker is free: the upstream spoke of them."""
    if want_mailboxes(account_id=account_id, mailbox_ids=mailbox_ids):
        transaction.on_commit(partial(enqueue, account_id, full=False, urgent=True), robust=True)
    else:
        request_sync(account_id=account_id)


def enqueue_due_syncs(*, now: datetime | None = None) -> int:
    """Enqueue the accounts that are due, and those with a wanted mailbox whose message was lost; returns how many."""
    now = now or timezone.now()
    due = claim_due(now=now)
    for account_id in due:
        enqueue(account_id, full=True)
    wanted = reclaim_wanted(now=now, older_than=_WANT_LOST_AFTER, limit=_AT_ONCE)
    for account_id in wanted:
        enqueue(account_id, full=False)
    return len(due) + len(wanted)


@transaction.atomic
def claim_due(*, now: datetime) -> list[int]:
    """Return accounts that are due, the longest first, and put their next date off so that nobody else returns them."""
    due = Account.objects.syncable().filter(next_sync_at__lte=now).order_by("next_sync_at")
    ids = list(
        due.select_for_update(skip_locked=True, no_key=True, of=("self",)).values_list("pk", flat=True)[:_AT_ONCE]
    )
    Account.objects.filter(pk__in=ids).update(next_sync_at=now + runs.QUEUED_CLAIM)
    return ids


def enqueue(account_id: int, *, full: bool, urgent: bool = False) -> bool:
    """Send the task; False when the broker cannot be reached, which only means "later"."""
    try:
        current_app.send_task(
            SYNC_ACCOUNT,
            args=[account_id],
            kwargs={"full": full},
            queue="urgent" if urgent else "sync",
            expires=runs.QUEUED_CLAIM.total_seconds(),
            retry=False,
        )
    except OperationalError as error:
        logger.warning("account %s: cannot enqueue a sync: %s", account_id, error)
        return False
    return True
