"""Figures of the whole installation."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from imapped_site.figures import read_figures
from mailcache.models import Account, AccountState, Listing, Mutation, MutationKind, MutationState, ParkedCause
from mailcache.services import accounts
from mailcache.services.flags import store_flags
from mailcache.wire.number_set import NumberSet
from sync.models import (
    STALE_AFTER,
    Checkpoint,
    ConnectionSlot,
    FailureCause,
    Purpose,
    SyncKind,
    SyncOutcome,
    SyncRun,
)
from tests.builders import add_skeleton, make_account, make_fence, make_mailboxes, skeleton_row
from tests.mailcache.deltas import adding

pytestmark = pytest.mark.django_db


def test_of_nothing() -> None:
    figures = read_figures()
    assert dict(figures.accounts) == {"active": 0, "failing": 0, "auth_failed": 0, "paused": 0}
    assert set(dict(figures.runs)) == set(SyncOutcome.values)
    assert (figures.messages, figures.oldest_mutation_seconds, figures.stale_runs) == (0, 0.0, 0)


def test_accounts_by_state() -> None:
    make_account()
    failing, paused = make_account(), make_account()
    Account.objects.filter(pk=failing.pk).update(
        state=AccountState.FAILING, next_sync_at=timezone.now() - timedelta(days=1)
    )
    accounts.pause_sync(account_id=paused.pk, paused=True)
    figures = read_figures()
    assert dict(figures.accounts) == {"active": 1, "failing": 1, "auth_failed": 0, "paused": 1}
    assert figures.overdue == 1


def test_parked_changes_by_cause() -> None:
    account = make_account()
    causes = (ParkedCause.REFUSED, ParkedCause.REFUSED, ParkedCause.READ_ONLY)
    Mutation.objects.bulk_create(
        Mutation(account=account, kind=MutationKind.CREATE, state=MutationState.PARKED, parked_cause=cause)
        for cause in causes
    )
    assert dict(read_figures().parked_mutations) == {
        "refused": 2, "exhausted": 0, "read_only": 1, "other_message": 0, "uncertain": 0,
    }  # fmt: skip


def test_mail_and_queues(django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    account = make_account()
    fence = make_fence(account)
    inbox = make_mailboxes(fence)[0]
    add_skeleton(fence, inbox, [skeleton_row(uid, size=10) for uid in (1, 2, 3)])
    Listing.objects.filter(uid=1).update(header=b"Subject: x\r\n\r\n")
    Listing.objects.filter(uid=2).update(wanted_at=timezone.now())
    store_flags(
        user_id=account.user_id,
        mailbox_id=inbox.pk,
        uids=NumberSet.from_numbers([1, 2]),
        store=adding("\\Seen"),
    )
    with django_assert_max_num_queries(17):
        figures = read_figures()
    assert (figures.mailboxes, figures.messages, figures.message_bytes) == (1, 3, 30)
    assert dict(figures.waiting) == {"body": 3, "header": 2, "wanted_body": 1}
    assert dict(figures.mutations) == {"pending": 2, "sent": 0, "settled": 0, "parked": 0}
    assert figures.oldest_mutation_seconds > 0


def test_runs() -> None:
    now = timezone.now()
    runs: list[dict[str, Any]] = [
        {"heartbeat_at": now - STALE_AFTER - timedelta(seconds=1)},
        {"outcome": SyncOutcome.COMPLETED, "finished_at": now},
        {"outcome": SyncOutcome.FAILED, "finished_at": now, "started_at": now - timedelta(days=2)},
    ]
    for fields in runs:
        SyncRun.objects.create(account=make_account(), kind=SyncKind.FULL, **fields)
    figures = read_figures()
    counted = {outcome: number for outcome, number in figures.runs if number}
    assert counted == {"running": 1, "completed": 1}
    assert figures.stale_runs == 1


def test_failures_by_cause() -> None:
    now = timezone.now()
    for cause, began in (
        (FailureCause.TIMEOUT, now),
        (FailureCause.TIMEOUT, now),
        (FailureCause.AUTH, now),
        (FailureCause.TLS, now - timedelta(days=2)),
    ):
        SyncRun.objects.create(
            account=make_account(), kind=SyncKind.FULL, outcome=SyncOutcome.FAILED, cause=cause,
            started_at=began, finished_at=began,
        )  # fmt: skip
    failures = dict(read_figures().failures)
    assert {cause: number for cause, number in failures.items() if number} == {"timeout": 2, "auth": 1}
    assert set(failures) == set(FailureCause.values) - {""}


def test_what_upstreams_make_difficult() -> None:
    account = make_account()
    fence = make_fence(account)
    inbox = make_mailboxes(fence)[0]
    add_skeleton(fence, inbox, [skeleton_row(uid) for uid in (1, 2, 3)])
    Listing.objects.filter(uid__lte=2).update(parked_reason="NO")
    Checkpoint.objects.create(account=account, mailbox=inbox, audit_differences=4)
    now = timezone.now()
    Account.objects.update(slow_until=now + timedelta(minutes=5))
    for purpose, lasts in ((Purpose.WATCH, 30), (Purpose.SYNC, 30), (Purpose.SYNC, -1)):
        ConnectionSlot.objects.create(
            account=account, host="h", purpose=purpose, holder="w", expires_at=now + timedelta(seconds=lasts)
        )
    figures = read_figures()
    assert (figures.parked_messages, figures.audit_differences, figures.slow_accounts) == (2, 4, 1)
    assert dict(figures.connections) == {"watch": 1, "sync": 1, "bodies": 0, "replay": 0}
