"""Celery tasks of ``sync``."""

from __future__ import annotations

from celery import shared_task

from sync import audit, scheduling
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


@shared_task(name=scheduling.AUDIT_ACCOUNT)
def audit_account(account_id: int) -> None:
    """Compare one mailbox of an account with the upstream by checksum."""
    audit.audit_account(account_id)


@shared_task(name="sync.tasks.enqueue_due_audits")
def enqueue_due_audits() -> None:
    """Enqueue the accounts of which a mailbox is to be audited; beat calls this twice a minute."""
    audit.enqueue_due_audits()
