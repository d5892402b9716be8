"""``force_sync`` against a real Dovecot."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from celery import current_app
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone
from kombu import Queue
from pytest_django import DjangoCaptureOnCommitCallbacks

from mailcache.models import Account, AuditEvent, Mailbox
from mailcache.services import accounts
from sync.models import SyncOutcome, SyncRun
from tests.builders import make_account, message_bytes
from tests.servers.dovecot import PASSWORD, Dovecot


def run(account: Account, *options: str) -> str:
    output = io.StringIO()
    call_command("force_sync", "--account-email", account.address, *options, stdout=output)
    return output.getvalue()


@pytest.mark.django_db
class TestAsking:
    def test_makes_the_account_due(self) -> None:
        account = make_account()
        Account.objects.update(next_sync_at=timezone.now() + timedelta(hours=1))
        assert "will be synced now" in run(account)
        account.refresh_from_db()
        assert account.next_sync_at <= timezone.now()
        assert AuditEvent.objects.get(action="account.sync").account == account

    def test_puts_a_task_into_the_urgent_queue(
        self, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        with current_app.connection_for_write() as broker:
            queue = Queue("urgent", channel=broker.default_channel)
            queue.declare()
            queue.purge()
            with django_capture_on_commit_callbacks(execute=True):
                run(make_account())
            assert queue.purge() == 1

    def test_a_paused_account_is_refused(self) -> None:
        account = make_account()
        accounts.pause_sync(account_id=account.pk, paused=True)
        with pytest.raises(CommandError, match="resume it first"):
            run(account)


@pytest.mark.dovecot
@pytest.mark.django_db(transaction=True)
class TestInProcess:
    def test_brings_the_mail_here(self, dovecot: Dovecot, upstream_user: str) -> None:
        dovecot.deliver(upstream_user, message_bytes())
        account = make_account(port=dovecot.plain_port, username=upstream_user, secret=PASSWORD)
        text = run(account, "--in-process")
        assert "1 new" in text
        assert "1 bodies" in text
        assert Mailbox.objects.get(account=account, name="INBOX").messages == 1
        assert SyncRun.objects.get().outcome == SyncOutcome.COMPLETED

    def test_tells_why_it_failed(self, dovecot: Dovecot, upstream_user: str) -> None:
        account = make_account(port=dovecot.plain_port, username=upstream_user, secret="wrong")
        with pytest.raises(CommandError, match=r"(?i)auth"):
            run(account, "--in-process")
