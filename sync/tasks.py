"""Celery tasks of ``sync``."""

from __future__ import annotations

from celery import Task, shared_task

from sync import audit, fetching_wanted, scheduling
from sync.account_run import UNFINISHED, SliceEnd, run_slice
from sync.lanes import Lane
from sync.replay import turns
from sync.replay.run import ReplayEnd, run_replay


# The slice's own clock and its heartbeat end it long before; the limit is for one that hangs in spite of both. In the
# slow lane, whose pool of threads knows no limits, a large message over a slow line may take as long as bytes come.
@shared_task(name=scheduling.SYNC_ACCOUNT, bind=True, soft_time_limit=120, time_limit=150)
def sync_account(self: Task[[int], None], account_id: int, *, full: bool = False) -> None:
    """Work on an account for one slice; what remains goes to the end of the queue, behind the other accounts."""
    queue = (self.request.delivery_info or {}).get("routing_key")
    lane = Lane.SLOW if queue == Lane.SLOW.value else Lane.FAST
    end = run_slice(account_id, full=full, lane=lane)
    if end is not SliceEnd.CROWDED and turns.is_asked(account_id):
        # It has made way for a replay, which need not wait for the sweep.
        scheduling.enqueue_replay(account_id)
    if end in UNFINISHED:
        # A slice that was not begun here has still to do all that was asked for.
        scheduling.enqueue(account_id, full=full and end is SliceEnd.SLOW)


@shared_task(name=scheduling.REPLAY_ACCOUNT, bind=True, soft_time_limit=120, time_limit=150)
def replay_account(self: Task[[int], None], account_id: int, *, force: bool = False) -> None:
    """Replay local changes of an account for one slice; what remains goes to the end of the queue."""
    queue = (self.request.delivery_info or {}).get("routing_key")
    scheduling.begin_replay(account_id)
    end = run_replay(account_id, force=force, lane=Lane.SLOW if queue == Lane.SLOW.value else Lane.FAST)
    if end in (ReplayEnd.MORE, ReplayEnd.SLOW):
        scheduling.enqueue_replay(account_id, force=force and end is ReplayEnd.SLOW)


@shared_task(name="sync.tasks.enqueue_due_replays")
def enqueue_due_replays() -> None:
    """Enqueue the accounts whose local changes were not replayed yet; beat calls this every second."""
    scheduling.enqueue_due_replays()


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


@shared_task(name=scheduling.AUDIT_ACCOUNT)
def audit_account(account_id: int) -> None:
    """Compare one mailbox of an account with the upstream by checksum."""
    audit.audit_account(account_id)


@shared_task(name="sync.tasks.enqueue_due_audits")
def enqueue_due_audits() -> None:
    """Enqueue the accounts of which a mailbox is to be audited; beat calls this twice a minute."""
    audit.enqueue_due_audits()
