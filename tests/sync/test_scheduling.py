"""Asking for syncs: what is enqueued, and what is left in the database when the broker is away."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from celery import current_app
from django.utils import timezone
from kombu.exceptions import OperationalError
from pytest_django import DjangoCaptureOnCommitCallbacks

from mailcache.models import Account, Mailbox
from sync import scheduling
from sync.models import Checkpoint
from sync.services.checkpoints import want_inbox
from sync.services.runs import QUEUED_CLAIM
from sync.tasks import enqueue_due_syncs, sync_account
from tests.builders import make_account, make_fence, make_mailboxes

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


def test_a_request_for_inbox_compares_nothing_else(
    account: Account,
    sent: list[tuple[int, bool, str]],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    make_inbox(account)
    with django_capture_on_commit_callbacks(execute=True):
        scheduling.request_inbox_sync(account_id=account.pk)
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
