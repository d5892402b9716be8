"""The operators' commands about what is fetched, what was set aside, and what is held back."""

from __future__ import annotations

import io
import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from mailcache.models import Account, AuditEvent, BodyPolicy, Listing
from mailcache.services.policies import Policies
from sync.models import Checkpoint, ConnectionSlot, Purpose, UpstreamUsage
from tests.builders import add_skeleton, make_account, make_fence, make_mailboxes, make_user, skeleton_row

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command(*arguments, stdout=output)
    return output.getvalue()


def account_with_parked() -> Account:
    account = make_account()
    fence = make_fence(account)
    add_skeleton(fence, make_mailboxes(fence)[0], [skeleton_row(1, size=1000), skeleton_row(2)])
    Listing.objects.filter(uid=1).update(parked_reason="the server says NO", attempts=2)
    return account


class TestRetryParked:
    def test_of_one_account(self) -> None:
        account, other = account_with_parked(), account_with_parked()
        assert "1 parked messages" in run("retry_parked", "--account-email", account.address)
        assert not Listing.objects.parked(account.pk).exists()
        assert Listing.objects.parked(other.pk).exists()
        assert AuditEvent.objects.get(action="account.retry_parked").account == account

    def test_of_none(self) -> None:
        account = make_account()
        assert "0 parked messages" in run("retry_parked", "--account-email", account.address)


class TestConfirmDeletions:
    def test_of_a_mailbox_that_holds_some(self) -> None:
        account = make_account()
        inbox = make_mailboxes(make_fence(account))[0]
        Checkpoint.objects.create(account=account, mailbox=inbox, gone_uids="1:90", gone_seen_at=timezone.now())
        text = run("confirm_deletions", "--account-email", account.address, "--mailbox", "INBOX")
        assert "taken over now" in text
        assert Checkpoint.objects.get().gone_confirmed

    @pytest.mark.parametrize(("mailbox", "complaint"), [("INBOX", "no deletions"), ("Nowhere", "mailbox not found")])
    def test_refusals(self, mailbox: str, complaint: str) -> None:
        account = make_account()
        make_mailboxes(make_fence(account))
        with pytest.raises(CommandError, match=complaint):
            run("confirm_deletions", "--account-email", account.address, "--mailbox", mailbox)


class TestPolicies:
    def test_only_what_is_named_changes(self) -> None:
        account = make_account()
        named = ("--body-policy", "recent", "--body-days", "7", "--daily-bytes", "5000", "--provider-profile", "gmail")
        text = run("set_account_policy", "--account-email", account.address, *named)
        assert "body_policy recent, body_days 7, daily_bytes 5000, profile gmail" in text
        account.refresh_from_db()
        assert Policies.of(account) == Policies(BodyPolicy.RECENT, 7, 5000, None, "gmail", account.quota_bytes)
        back = ("--daily-bytes", "default", "--provider-profile", "automatic")
        assert "daily_bytes default, profile default" in run(
            "set_account_policy", "--account-email", account.address, *back
        )
        account.refresh_from_db()
        assert (account.daily_bytes, account.profile, account.body_days) == (None, "", 7)

    def test_nothing_named(self) -> None:
        account = make_account()
        assert "nothing changed" in run("set_account_policy", "--account-email", account.address)
        assert not AuditEvent.objects.filter(action="account.policies").exists()

    def test_refusals_are_plain_text(self) -> None:
        account = make_account()
        with pytest.raises(CommandError, match="connection limit"):
            run("set_account_policy", "--account-email", account.address, "--connection-limit", "0")
        with pytest.raises(CommandError, match="invalid choice"):
            run("set_account_policy", "--account-email", account.address, "--provider-profile", "nobody")

    def test_of_a_new_account(self) -> None:
        make_user("user@example.test")
        run(
            "add_account", "--user-email", "user@example.test", "--email-address", "me@provider.example",
            "--upstream-host", "imap.provider.example", "--upstream-secret", "x", "--body-policy", "on_demand",
            "--connection-limit", "3",
        )  # fmt: skip
        account = Account.objects.get()
        assert (account.body_policy, account.connection_limit) == (BodyPolicy.ON_DEMAND, 3)
        assert "connection_limit: 3" in AuditEvent.objects.get(action="account.create").detail["policies"]


class TestShowSyncStatus:
    @pytest.fixture
    def account(self) -> Account:
        account = account_with_parked()
        now = timezone.now()
        UpstreamUsage.objects.create(
            account=account, day=now.date(), kind="UID FETCH", commands=12, bytes_in=9000, bytes_out=1000
        )
        ConnectionSlot.objects.create(
            account=account, host=account.host, purpose=Purpose.WATCH, holder="w", expires_at=now + timedelta(1)
        )
        Account.objects.update(notice="connections: too many", latches=["IDLE"], latched_at=now)
        return account

    def test_in_detail(self, account: Account) -> None:
        text = run("show_sync_status", "--account-email", account.address)
        for part in (
            "lag:          never in step", "notice:       connections: too many", "profile:      any IMAP server",
            "refused:      IDLE", "connections:  watching", "today:        12 commands, 10.0 kB",
            "30 days:      12 commands, 10.0 kB", "UID FETCH  12",
        ):  # fmt: skip
            assert part in text

    def test_table_and_json_tell_of_parked_messages_and_lag(self, account: Account) -> None:
        make_account()
        titles, row, _ = run("show_sync_status").splitlines()
        assert titles.split()[5:8] == ["FETCH", "PARKED", "LAG"]
        assert " 1       never in step" in row
        found = json.loads(run("show_sync_status", "--json"))
        assert [status["bodies_parked"] for status in found] == [1, 0]
        assert found[0]["lag_seconds"] >= 0
        assert found[0]["notice"] == "connections: too many"
