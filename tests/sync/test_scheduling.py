"""Asking for syncs: what is enqueued, and what is left in the database when the broker is away."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from celery import current_app
from django.db import connection
from django.utils import timezone
from kombu.exceptions import OperationalError
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from mailcache.models import Account, AccountState, Mailbox
from sync import scheduling
from sync.account_run import SliceEnd, run_slice
from sync.models import Checkpoint, SyncRun
from sync.services import runs
from sync.services.runs import QUEUED_CLAIM
from sync.tasks import enqueue_due_syncs, sync_account
from tests.builders import make_account, make_fence, make_mailboxes
from tests.sync.wants import inbox_id, want_inbox

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return make_account()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool, str]]:
    """What is sent to the broker: account, full, queue."""
    sent: list[tuple[int, bool, str]] = []

    def send_task(name: str, args: list[int], kwargs: dict[str, bool], queue: str, **options: Any) -> None:
        assert name == sync_account.name
        assert options["expires"] > 0
        sent.append((args[0], kwargs["full"], queue))

    monkeypatch.setattr(current_app, "send_task", send_task)
    return sent


@pytest.fixture
def broker_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def send_task(*_: Any, **__: Any) -> None:
        raise OperationalError("nobody there")

    monkeypatch.setattr(current_app, "send_task", send_task)


def claimed(now: datetime) -> list[int]:
    return [due.account_id for due in scheduling.claim_due(now=now)]


def make_inbox(account: Account) -> None:
    (inbox,) = make_mailboxes(make_fence(account))
    Mailbox.objects.filter(pk=inbox.pk).update(role="inbox")


def test_due_accounts_are_enqueued_once(account: Account, sent: list[tuple[int, bool, str]]) -> None:
    enqueue_due_syncs()
    enqueue_due_syncs()
    assert sent == [(account.pk, True, "sync")]


def test_a_request_goes_to_the_urgent_queue_after_commit(
    account: Account,
    sent: list[tuple[int, bool, str]],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        scheduling.request_sync(account_id=account.pk)
        assert sent == []
    assert sent == [(account.pk, True, "urgent")]


def test_a_request_for_a_mailbox_compares_nothing_else(
    account: Account,
    sent: list[tuple[int, bool, str]],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    make_inbox(account)
    with django_capture_on_commit_callbacks(execute=True):
        scheduling.request_mailbox_sync(account_id=account.pk, mailbox_ids=[inbox_id(account.pk)])
    assert sent == [(account.pk, False, "urgent")]
    assert Checkpoint.objects.wanted(timezone.now()).count() == 1


@pytest.mark.usefixtures("broker_is_away")
def test_without_a_broker_a_request_stays_in_the_database(
    account: Account, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    Account.objects.update(next_sync_at=timezone.now() + QUEUED_CLAIM)
    with django_capture_on_commit_callbacks(execute=True):
        scheduling.request_sync(account_id=account.pk)
    assert not scheduling.enqueue(account.pk, full=True)
    assert claimed(timezone.now()) == [account.pk]


def test_wants_whose_message_was_lost_are_enqueued_again(account: Account, sent: list[tuple[int, bool, str]]) -> None:
    make_inbox(account)
    scheduling.claim_due(now=timezone.now())
    want_inbox(account_id=account.pk)
    assert scheduling.enqueue_due_syncs(now=timezone.now()) == 0
    assert scheduling.enqueue_due_syncs(now=timezone.now() + QUEUED_CLAIM / 2) == 1
    assert sent == [(account.pk, False, "sync")]


def test_a_run_whose_worker_vanished_goes_on_without_comparing_anew(
    account: Account, sent: list[tuple[int, bool, str]]
) -> None:
    run = runs.begin_slice(fence=make_fence(account), full=True, now=timezone.now())
    scheduling.enqueue_due_syncs(now=timezone.now() + runs.CLAIM)
    assert sent == [(account.pk, False, "sync")]
    run.refresh_from_db()
    account.refresh_from_db()
    assert run.claim == account.next_sync_at


def test_an_account_that_failed_is_left_alone_until_its_date(account: Account) -> None:
    """Whoever heard the upstream speak must not shorten the pause that it asked for."""
    later = timezone.now() + timedelta(minutes=10)
    Account.objects.update(state=AccountState.FAILING, failures=1, next_sync_at=later)
    assert run_slice(account.pk) is SliceEnd.STOPPED
    assert not SyncRun.objects.exists()


class TestHundredThousandAccounts:
    """A periodic sync of all accounts is spread over its interval, also after an outage. The clock is the test's."""

    NUMBER = 100_000
    TICK = 240.0

    @pytest.fixture
    def many(self, account: Account, settings: Settings) -> None:
        settings.PERIODIC_SYNC_INTERVAL_SECONDS = 3600
        columns = [field.column for field in Account._meta.concrete_fields if field.column not in ("id", "address")]
        names = ", ".join(f'"{name}"' for name in columns)
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO mailcache_account (address, {names})"
                f" SELECT 'many' || number || '@example.test', {names}"
                " FROM mailcache_account, generate_series(2, %s) AS number",
                [self.NUMBER],
            )
            cursor.execute("ANALYZE mailcache_account")

    def synced_at(self, now: datetime, accounts: list[int]) -> None:
        """Do what successful runs of these accounts do to their dates."""
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE mailcache_account SET next_sync_at = %s + make_interval(secs => 3600 * (0.8 + 0.2 * random()))"
                " WHERE id = ANY(%s)",
                [now, accounts],
            )

    @pytest.mark.usefixtures("many")
    def test_all_due_at_once_are_spread(self) -> None:
        start = timezone.now()
        fair = self.NUMBER * self.TICK / 3600
        last = dict.fromkeys(Account.objects.values_list("pk", flat=True), start)
        longest = timedelta()
        shares: list[int] = []
        for tick in range(21):
            now = start + timedelta(seconds=self.TICK * tick)
            due = [claim.account_id for claim in scheduling.claim_due(now=now, tick_seconds=self.TICK)]
            self.synced_at(now, due)
            shares.append(len(due))
            for account_id in due:
                longest = max(longest, now - last[account_id])
                last[account_id] = now

        # Every tick has its share, also the first, when all are due, and those of the next round.
        assert max(shares) <= fair * 1.25 + 1
        assert min(shares[:12]) >= fair
        # Nobody waited longer than the interval and a tick, and nobody was forgotten.
        patience = timedelta(seconds=3600 + self.TICK)
        assert longest <= patience
        assert min(last.values()) >= now - patience


def test_a_handful_of_accounts_is_claimed_at_once() -> None:
    assert scheduling.share_of_tick(5, scheduling.TICK_SECONDS) >= 5
    assert scheduling.share_of_tick(100_000, 5.0) < 100_000 / 300
