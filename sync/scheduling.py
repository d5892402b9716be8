"""When accounts are synced: asking for it, and finding those that are due.

The database is the truth: a message that the broker loses costs latency, because what it asked for is found again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial
from math import ceil
from typing import NamedTuple

from celery import current_app
from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from mailcache.models import Account, Mutation
from mailcache.services import accounts
from mailcache.services.replays import claim_due_replays
from sync.lanes import Lane, slow_accounts
from sync.services import runs
from sync.services.audits import AUDIT_SECONDS
from sync.services.checkpoints import reclaim_wanted, want_mailboxes

logger = logging.getLogger(__name__)

SYNC_ACCOUNT = "sync.tasks.sync_account"
AUDIT_ACCOUNT = "sync.tasks.audit_account"
REPLAY_ACCOUNT = "sync.tasks.replay_account"
# How often beat asks for the accounts that are due.
TICK_SECONDS = 5.0
# After an outage, or when many accounts were added at once, all are due at the same time: they are claimed at so many
# times the usual rate, so that the queue does not fill and the next round is spread as well.
_CATCH_UP = 1.25
_LEAST_AT_ONCE = 20
# How long a want may lie before its message is taken for lost.
_WANT_LOST_AFTER = timedelta(seconds=30)
_AT_ONCE = 1000
# The message that follows a local change should have been worked on by then; so long another one may take.
_REPLAY_LOST_AFTER = timedelta(seconds=2)
_REPLAY_CLAIM = timedelta(seconds=15)
_REPLAY_EXPIRES = timedelta(seconds=300)
_URGENT = "urgent"


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
    wanted = reclaim_wanted(now=now, older_than=_WANT_LOST_AFTER, limit=_AT_ONCE)
    slow = slow_accounts([*(claim.account_id for claim in due), *wanted], now)
    for claim in due:
        _send(claim.account_id, full=not claim.is_continued, queue=_queue(is_slow=claim.account_id in slow))
    for account_id in wanted:
        _send(account_id, full=False, queue=_queue(is_slow=account_id in slow))
    return len(due) + len(wanted)


class Due(NamedTuple):
    """An account that is due. It is continued where nobody asked for it: the worker of its run vanished."""

    account_id: int
    is_continued: bool


@transaction.atomic
def claim_due(*, now: datetime, tick_seconds: float = TICK_SECONDS) -> list[Due]:
    """Return accounts that are due, the longest first, and put their next date off so that nobody else returns them.

    So many at most that all accounts together fill the periodic interval evenly.
    """
    syncable = Account.objects.syncable()
    most = share_of_tick(syncable.count(), tick_seconds)
    due = syncable.filter(next_sync_at__lte=now).order_by("next_sync_at")
    rows = dict(
        due.select_for_update(skip_locked=True, no_key=True, of=("self",)).values_list("pk", "next_sync_at")[:most]
    )
    claim = now + runs.QUEUED_CLAIM
    Account.objects.filter(pk__in=rows).update(next_sync_at=claim)
    continued = runs.move_claims(dates=rows, claim=claim)
    return [Due(account_id, account_id in continued) for account_id in rows]


def share_of_tick(accounts: int, tick_seconds: float) -> int:
    """Return how many of so many accounts are claimed at most in one tick."""
    usual = accounts * tick_seconds / settings.PERIODIC_SYNC_INTERVAL_SECONDS
    return max(_LEAST_AT_ONCE, ceil(usual * _CATCH_UP))


def enqueue(account_id: int, *, full: bool, urgent: bool = False) -> bool:
    """Send the task; False when the broker cannot be reached, which only means "later"."""
    is_slow = bool(slow_accounts([account_id], timezone.now()))
    return _send(account_id, full=full, queue=_queue(is_slow=is_slow, urgent=urgent))


def enqueue_due_replays(*, now: datetime | None = None) -> int:
    """Enqueue the accounts whose local changes should have been replayed; returns how many."""
    now = now or timezone.now()
    due = claim_due_replays(now=now, grace=_REPLAY_LOST_AFTER, claim=_REPLAY_CLAIM, limit=_AT_ONCE)
    slow = slow_accounts(due, now)
    for account_id in due:
        _send_replay(account_id, force=True, queue=_queue(is_slow=account_id in slow, urgent=True))
    return len(due)


def enqueue_replay(account_id: int, *, force: bool = False) -> bool:
    """Have local changes replayed as soon as a worker is free; False when the broker cannot be reached.

    ``force``: also where the upstream is left alone because it could not be reached.
    """
    is_slow = bool(slow_accounts([account_id], timezone.now()))
    return _send_replay(account_id, force=force, queue=_queue(is_slow=is_slow, urgent=True))


def enqueue_changes(account_id: int) -> None:
    """Have new local changes replayed, unless a message that says so is still on its way.

    A client that appends a thousand messages does not fill the queue with a thousand tasks.
    """
    if cache.add(_underway(account_id), 1, timeout=_REPLAY_LOST_AFTER.total_seconds()):
        enqueue_replay(account_id)


def begin_replay(account_id: int) -> None:
    """Note that the message has arrived: what is queued from now on needs another one."""
    cache.delete(_underway(account_id))


def _underway(account_id: int) -> str:
    return f"replay-underway:{account_id}"


def replay_what_waits(account_id: int) -> None:
    """Have local changes replayed at once that wait for an upstream which is back."""
    if Mutation.objects.replayable(account_id).exists():
        enqueue_replay(account_id, force=True)


def _queue(*, is_slow: bool, urgent: bool = False) -> str:
    """Return the queue of a task: one that may keep its worker waiting never stands before others."""
    if is_slow:
        return Lane.SLOW.value
    return _URGENT if urgent else Lane.FAST.value


def _send(account_id: int, *, full: bool, queue: str) -> bool:
    return _send_task(SYNC_ACCOUNT, account_id, {"full": full}, queue=queue, expires=runs.QUEUED_CLAIM)


def _send_replay(account_id: int, *, force: bool, queue: str) -> bool:
    return _send_task(REPLAY_ACCOUNT, account_id, {"force": force}, queue=queue, expires=_REPLAY_EXPIRES)


def _send_task(name: str, account_id: int, arguments: dict[str, bool], *, queue: str, expires: timedelta) -> bool:
    try:
        current_app.send_task(
            name, args=[account_id], kwargs=arguments, queue=queue, expires=expires.total_seconds(), retry=False
        )
    except OperationalError as error:
        logger.warning("account %s: cannot enqueue %s: %s", account_id, name, error)
        return False
    return True


def enqueue_audit(account_id: int) -> None:
    """Send the task; an account whose message is lost is audited at its next date."""
    try:
        current_app.send_task(AUDIT_ACCOUNT, args=[account_id], queue="bulk", expires=AUDIT_SECONDS / 2, retry=False)
    except OperationalError as error:
        logger.warning("account %s: cannot enqueue an audit: %s", account_id, error)
