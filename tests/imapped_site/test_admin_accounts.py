"""The console's account pages: adding, changing, buttons, progress."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from mailcache.models import Account, AccountState, AuditEvent, Listing, TlsMode
from mailcache.services import accounts, leases, users
from mailcache.services.sealed_secrets import open_secret
from tests.builders import SECRET, add_skeleton, make_account, make_fence, make_mailboxes, make_user, skeleton_row
from tests.imapped_site.consoles import make_operator, policy_fields

pytestmark = pytest.mark.django_db

LIST = "admin:mailcache_account_changelist"
SERVER = {"host": "imap.example.test", "port": "993", "tls_mode": "tls", "auth_method": "login"} | policy_fields()


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(make_operator())
    return client


def page(account: Account, name: str = "change") -> str:
    return reverse(f"admin:mailcache_account_{name}", args=[account.pk])


def is_paused(account: Account) -> bool:
    return Account.objects.get(pk=account.pk).sync_paused


def press(operator: Client, account: Account, name: str) -> str:
    return operator.post(page(account, name), follow=True).content.decode()


def test_add(operator: Client) -> None:
    user = make_user()
    form = SERVER | {"user": str(user.pk), "address": "me@example.test", "secret": " pass word "}
    answer = operator.post(reverse("admin:mailcache_account_add"), form)
    assert answer.status_code == 302
    account = Account.objects.get(address="me@example.test")
    assert (account.user, account.username, account.tls_mode) == (user, "me@example.test", TlsMode.TLS)
    assert open_secret(account) == " pass word "
    event = AuditEvent.objects.get(action="account.create")
    assert (event.actor, event.account) == ("operator@example.test", account)
    assert "pass word" not in str(event.detail)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"secret": ""}, "This field is required"),
        ({"port": "99999"}, "less than or equal to 65535"),
        ({"address": "TAKEN@example.test"}, "has an account"),
    ],
)
def test_add_refuses(operator: Client, change: dict[str, str], complaint: str) -> None:
    taken = make_account()
    Account.objects.filter(pk=taken.pk).update(address="taken@example.test")
    form = SERVER | {"user": str(taken.user_id), "address": "me@example.test", "secret": "s3cr3t"} | change
    answer = operator.post(reverse("admin:mailcache_account_add"), form).content.decode()
    assert complaint in answer
    assert "s3cr3t" not in answer
    assert Account.objects.count() == 1


class TestChange:
    def test_the_secret_is_never_shown(self, operator: Client) -> None:
        account = make_account()
        for answer in (operator.get(page(account)), operator.get(page(account, "progress"))):
            assert SECRET not in answer.content.decode()

    def test_an_empty_secret_keeps_the_stored_one(self, operator: Client) -> None:
        account = make_account()
        operator.post(page(account), SERVER | {"username": "other", "display_name": "Mine", "secret": ""})
        account.refresh_from_db()
        assert (account.host, account.username, account.display_name) == ("imap.example.test", "other", "Mine")
        assert open_secret(account) == SECRET

    def test_a_new_secret_makes_refused_credentials_be_tried_again(self, operator: Client) -> None:
        account = make_account()
        fence = make_fence(account)
        later = timezone.now() + timedelta(days=1)
        accounts.record_sync_failure(fence=fence, state=AccountState.AUTH_FAILED, reason="refused", next_sync_at=later)
        operator.post(page(account), SERVER | {"username": account.username, "secret": "a new one"})
        account.refresh_from_db()
        assert open_secret(account) == "a new one"
        assert (account.state, account.next_sync_at < later) == (AccountState.ACTIVE, True)
        assert AuditEvent.objects.get(action="account.change").detail["secret"] == "new"

    def test_nothing_changed_writes_nothing(self, operator: Client) -> None:
        account = make_account()
        form = {
            "host": account.host, "port": account.port, "tls_mode": account.tls_mode,
            "auth_method": account.auth_method, "username": account.username, "secret": "", **policy_fields(),
        }  # fmt: skip
        operator.post(page(account), form)
        assert not AuditEvent.objects.filter(action__startswith="account.").exists()


class TestButtons:
    def test_pause_and_resume(self, operator: Client) -> None:
        account = make_account()
        assert "is paused" in press(operator, account, "pause")
        assert "Resume sync" in operator.get(page(account)).content.decode()
        assert is_paused(account)
        assert "goes on" in press(operator, account, "resume")
        assert not is_paused(account)
        assert {"account.pause", "account.resume"} <= set(AuditEvent.objects.values_list("action", flat=True))

    def test_sync_now_makes_it_due(self, operator: Client) -> None:
        account = make_account()
        Account.objects.update(next_sync_at=timezone.now() + timedelta(hours=1))
        assert "will be synced now" in press(operator, account, "sync")
        account.refresh_from_db()
        assert account.next_sync_at <= timezone.now()

    def test_sync_now_asks_a_worker_after_the_commit(
        self, operator: Client, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        account = make_account()
        with django_capture_on_commit_callbacks() as callbacks:
            press(operator, account, "sync")
        assert len(callbacks) == 1

    def test_sync_now_is_refused_while_paused(self, operator: Client) -> None:
        account = make_account()
        accounts.pause_sync(account_id=account.pk, paused=True)
        assert "resume it first" in press(operator, account, "sync")
        assert not AuditEvent.objects.filter(action="account.sync").exists()

    def test_sync_now_is_refused_for_an_inactive_user(self, operator: Client) -> None:
        account = make_account()
        users.set_active(user_id=account.user_id, active=False)
        assert "is not active" in press(operator, account, "sync")
        assert "user not active" in operator.get(page(account)).content.decode()

    def test_sync_now_tries_refused_credentials_again(self, operator: Client) -> None:
        account = make_account()
        Account.objects.update(state=AccountState.AUTH_FAILED, state_reason="no such user")
        press(operator, account, "sync")
        account.refresh_from_db()
        assert (account.state, account.state_reason) == (AccountState.FAILING, "no such user")

    def test_selected_accounts(self, operator: Client) -> None:
        rows = [make_account(), make_account()]
        for action, paused in (("pause_selected", True), ("resume_selected", False)):
            form = {"action": action, "_selected_action": [row.pk for row in rows]}
            operator.post(reverse(LIST), form)
            assert set(Account.objects.values_list("sync_paused", flat=True)) == {paused}

    def test_get_does_nothing(self, operator: Client) -> None:
        account = make_account()
        assert operator.get(page(account, "pause")).status_code == 405
        assert not is_paused(account)

    def test_not_from_another_site(self) -> None:
        account = make_account()
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(make_operator())
        assert browser.post(page(account, "pause")).status_code == 403
        assert not is_paused(account)
        token = browser.get(page(account)).context["csrf_token"]
        assert browser.post(page(account, "pause"), {"csrfmiddlewaretoken": str(token)}).status_code == 302
        assert is_paused(account)

    def test_not_for_others(self, client: Client) -> None:
        account = make_account()
        client.force_login(account.user)
        assert client.post(page(account, "pause")).status_code == 302
        assert not is_paused(account)

    def test_nothing_is_deleted_here(self, operator: Client) -> None:
        account = make_account()
        assert operator.post(page(account, "delete"), {"post": "yes"}).status_code == 403
        assert "delete_selected" not in operator.get(reverse(LIST)).content.decode()


class TestProgress:
    def test_panel(self, operator: Client) -> None:
        account = make_account()
        fence = make_fence(account)
        inbox, archive = make_mailboxes(fence, "INBOX", "Archive")
        add_skeleton(fence, inbox, [skeleton_row(uid, size=1_000_000) for uid in range(1, 4)])
        add_skeleton(fence, archive, [skeleton_row(1)])
        Listing.objects.filter(mailbox=archive).update(parked_reason="the server says NO", attempts=3)
        text = operator.get(page(account, "progress")).content.decode()
        assert "4 messages (3.0 MB) in 2 mailboxes" in text
        assert "4 (3.0 MB) still to fetch" in text
        assert "1 message could not be fetched" in text
        assert "the server says NO" in text
        assert text.index("INBOX") < text.index("Archive")

    @pytest.mark.parametrize(
        ("change", "summary"),
        [
            ({}, "waiting for its first sync"),
            ({"last_synced_at": timezone.now()}, "in step"),
            ({"state": AccountState.FAILING, "state_reason": "timed out"}, "failing"),
            ({"state": AccountState.AUTH_FAILED, "state_reason": "refused"}, "credentials refused"),
            ({"sync_paused": True}, "paused"),
        ],
    )
    def test_state_with_reason(self, operator: Client, change: dict[str, object], summary: str) -> None:
        account = make_account()
        Account.objects.filter(pk=account.pk).update(**change)
        for url in (page(account, "progress"), reverse(LIST)):
            text = operator.get(url).content.decode()
            assert summary in text
            assert str(change.get("state_reason", "")) in text


def test_the_list_costs_the_same_for_any_number(
    operator: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(3):
        account = make_account()
        fence = make_fence(account)
        add_skeleton(fence, make_mailboxes(fence)[0], [skeleton_row(1)])
        leases.release(fence)
    with django_assert_max_num_queries(9):
        text = operator.get(reverse(LIST)).content.decode()
    assert text.count("1 (100 B)") == 3
