"""The mailbox page: how its sync stands, and its buttons."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from mailcache.models import AuditEvent, Mailbox
from mailcache.services import accounts
from sync.models import Checkpoint
from tests.builders import make_account, make_fence, make_mailboxes
from tests.imapped_site.consoles import make_operator

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(make_operator())
    return client


@pytest.fixture
def inbox() -> Mailbox:
    return make_mailboxes(make_fence(make_account()))[0]


def page(mailbox: Mailbox, name: str = "change") -> str:
    return reverse(f"admin:mailcache_mailbox_{name}", args=[mailbox.pk])


def press(operator: Client, mailbox: Mailbox, name: str) -> str:
    return operator.post(page(mailbox, name), follow=True).content.decode()


def test_before_the_first_comparison(operator: Client, inbox: Mailbox) -> None:
    text = operator.get(page(inbox)).content.decode()
    assert "Sync this mailbox" in text
    assert "never" in text


def test_what_is_known(operator: Client, inbox: Mailbox) -> None:
    now = timezone.now()
    Checkpoint.objects.create(
        account_id=inbox.account_id, mailbox=inbox, uidvalidity=7, highestmodseq=12,
        compared_at=now - timedelta(minutes=5), audited_at=now - timedelta(hours=2), audit_differences=1,
        reason="timed out", failures=3, retry_at=now + timedelta(hours=1, seconds=9), full_wanted=True,
    )  # fmt: skip
    text = operator.get(page(inbox)).content.decode()
    for part in (
        "5 min ago", "HIGHESTMODSEQ", "3 times in a row: timed out", "in 1 h", "trusts no number",
        "2 h ago; 1 audit found a difference",
    ):  # fmt: skip
        assert part in text
    assert "These deletions are meant" not in text


def test_a_mailbox_that_is_only_here_has_no_buttons(operator: Client, inbox: Mailbox) -> None:
    Mailbox.objects.update(upstream_name=None)
    assert "Sync this mailbox" not in operator.get(page(inbox)).content.decode()
    assert "no counterpart upstream" in press(operator, inbox, "sync")


class TestHeldDeletions:
    @pytest.fixture
    def held(self, inbox: Mailbox) -> Checkpoint:
        return Checkpoint.objects.create(
            account_id=inbox.account_id, mailbox=inbox, gone_uids="1:400,501", gone_seen_at=timezone.now()
        )

    def test_are_shown_and_confirmed(self, operator: Client, inbox: Mailbox, held: Checkpoint) -> None:
        text = operator.get(page(inbox)).content.decode()
        assert "401 messages, first missing upstream" in text
        assert "These deletions are meant" in text
        assert "will be taken over now" in press(operator, inbox, "confirm_deletions")
        held.refresh_from_db()
        assert (held.gone_confirmed, held.wanted_at is not None) == (True, True)
        event = AuditEvent.objects.get(action="mailbox.confirm_deletions")
        assert (event.actor, event.detail) == ("operator@example.test", {"mailbox": "INBOX"})
        text = operator.get(page(inbox)).content.decode()
        assert "will be taken over with the next sync" in text
        assert "These deletions are meant" not in text

    def test_without_any(self, operator: Client, inbox: Mailbox) -> None:
        assert "no deletions are held back" in press(operator, inbox, "confirm_deletions")
        assert not AuditEvent.objects.filter(action="mailbox.confirm_deletions").exists()


class TestButtons:
    def test_sync_asks_a_worker(
        self, operator: Client, inbox: Mailbox, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        with django_capture_on_commit_callbacks() as callbacks:
            assert "will be synced now" in press(operator, inbox, "sync")
        assert len(callbacks) == 1
        row = Checkpoint.objects.get()
        assert (row.wanted_at is not None, row.full_wanted) == (True, False)

    def test_compare_everything(self, operator: Client, inbox: Mailbox) -> None:
        assert "Every UID" in press(operator, inbox, "compare")
        assert Checkpoint.objects.get().full_wanted
        assert AuditEvent.objects.get(action="mailbox.compare_everything").detail == {"mailbox": "INBOX"}

    def test_are_refused_while_the_account_is_paused(self, operator: Client, inbox: Mailbox) -> None:
        accounts.pause_sync(account_id=inbox.account_id, paused=True)
        assert "resume it first" in press(operator, inbox, "sync")
        assert not Checkpoint.objects.exists()

    @pytest.mark.parametrize("name", ["sync", "compare", "confirm_deletions"])
    def test_are_for_operators_of_this_site(self, client: Client, inbox: Mailbox, name: str) -> None:
        client.force_login(inbox.account.user)
        assert client.post(page(inbox, name)).status_code == 302
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(make_operator())
        assert browser.post(page(inbox, name)).status_code == 403
        assert browser.get(page(inbox, name)).status_code == 405
        assert not Checkpoint.objects.exists()
