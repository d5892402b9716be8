"""Celery tasks of ``sync``."""

from __future__ import annotations

from celery import shared_task

from sync import fetching_wanted, scheduling
from sync.account_run import SliceEnd, run_slice


# Its own clock ends a slice; the limit is for one that hangs in spite of every deadline. A large message over a slow
# line may take long: what guards it is the connection's inactivity timer.
@shared_task(name=scheduling.SYNC_ACCOUNT, soft_time_limit=3500, time_limit=3600)
def sync_account(account_id: int, *, full: bool = False) -> None:
    """Work on an account for one slice; what remains goes to the end of the queue, behind the other accounts."""
    end = run_slice(account_id, full=full)
    if end in (SliceEnd.MORE, SliceEnd.AGAIN):
        scheduling.enqueue(account_id, full=False)


@shared_task(name="sync.tasks.enqueue_due_syncs")
def enqueue_due_syncs() -> None:
    """Enqueue the accounts that are due; beat calls this every few seconds."""
    scheduling.enqueue_due_syncs()


# Its deadlines are those of somebody who waits; the limits are for what hangs in spite of them.
@shared_task(name=fetching_wanted.FETCH_WANTED)
def fetch_wanted(account_id: int) -> None:
    """Fetch the bytes that clients wait for, of an account that no watcher holds."""
    fetching_wanted.fetch_wanted(account_id)


@shared_task(name="sync.tasks.urgent.enqueue_wanted")
def enqueue_wanted() -> None:
    """Enqueue the accounts with wanted bytes for which nobody answers; beat calls this every two seconds."""
    fetching_wanted.enqueue_wanted()
