"""The operators' commands, as they are typed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from mailcache.models import Account, AccountState, AuditEvent, Listing, SealingKey, User
from mailcache.services.login import check_login
from mailcache.services.sealed_secrets import open_secret
from sync.models import SyncKind, SyncRun
from tests.builders import SECRET, add_skeleton, make_account, make_fence, make_mailboxes, make_user, skeleton_row

pytestmark = pytest.mark.django_db

Type = Callable[[str], None]


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command(*arguments, stdout=output)
    return output.getvalue()


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Type:
    """Put text where a command looks for what it was not told."""

    def put(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    return put


class TestCreateUser:
    def test_with_the_options_of_the_readme(self) -> None:
        assert "user@example.test" in run(
            "create_user", "--username-email", "user@example.test", "--password", "change-me"
        )
        user = User.objects.get()
        assert (user.is_staff, user.is_superuser) == (False, False)
        assert check_login(name="user@example.test", password="change-me") is not None
        assert AuditEvent.objects.get(action="user.create").actor.startswith("command line (")

    def test_password_from_stdin(self, stdin: Type) -> None:
        stdin("pass word\nnot this\n")
        run("create_user", "--username-email", "user@example.test")
        assert check_login(name="user@example.test", password="pass word") is not None

    @pytest.mark.parametrize(("option", "rights"), [("--staff", (True, False)), ("--admin", (True, True))])
    def test_rights(self, option: str, rights: tuple[bool, bool]) -> None:
        run("create_user", "--username-email", "user@example.test", "--password", "x", option)
        user = User.objects.get()
        assert (user.is_staff, user.is_superuser) == rights

    @pytest.mark.parametrize(
        ("email", "password", "complaint"),
        [
            ("TAKEN@example.test", "x", "exists already"),
            ("no address", "x", "not an e-mail"),
            ("a@b.test", "", "empty"),
        ],
    )
    def test_refusals_are_plain_text(self, email: str, password: str, complaint: str) -> None:
        make_user("taken@example.test")
        with pytest.raises(CommandError, match=complaint):
            run("create_user", "--username-email", email, "--password", password)
        assert User.objects.count() == 1


class TestAddAccount:
    def add(self, *more: str) -> str:
        return run(
            "add_account", "--user-email", "user@example.test", "--email-address", "me@provider.example",
            "--upstream-host", "imap.provider.example", *more,
        )  # fmt: skip

    def test_with_the_options_of_the_readme(self) -> None:
        user = make_user("user@example.test")
        self.add(
            "--display-name", "Primary Mail", "--upstream-port", "1993", "--upstream-tls-mode", "tls",
            "--upstream-auth-method", "login", "--upstream-username", "me", "--upstream-secret", "upstream-password",
        )  # fmt: skip
        account = Account.objects.get()
        assert (account.user, account.display_name, account.port) == (user, "Primary Mail", 1993)
        assert (account.username, open_secret(account)) == ("me", "upstream-password")
        assert "upstream-password" not in str(AuditEvent.objects.get(action="account.create").detail)

    def test_secret_from_stdin_and_defaults(self, stdin: Type) -> None:
        make_user("user@example.test")
        stdin("from stdin\n")
        assert "from stdin" not in self.add("--upstream-tls-mode", "starttls")
        account = Account.objects.get()
        assert (account.port, account.username, open_secret(account)) == (143, "me@provider.example", "from stdin")

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            (("--upstream-secret", ""), "password is empty"),
            (("--upstream-secret", "x", "--upstream-port", "70000"), "70000 is not between"),
            (("--upstream-secret", "x", "--upstream-tls-mode", "ssl"), "invalid choice"),
        ],
    )
    def test_refusals_are_plain_text(self, options: tuple[str, ...], complaint: str) -> None:
        make_user("user@example.test")
        with pytest.raises(CommandError, match=complaint):
            self.add(*options)
        assert not Account.objects.exists()

    def test_without_the_user(self) -> None:
        with pytest.raises(CommandError, match="user not found: user@"):
            self.add("--upstream-secret", "x")


class TestLists:
    def test_users(self) -> None:
        account = make_account()
        lines = run("list_users").splitlines()
        assert lines[0].split() == ["USER", "ROLE", "ACTIVE", "ACCOUNTS"]
        assert lines[1].split() == [account.user.email, "user", "yes", "1"]

    def test_accounts_of_one_user(self) -> None:
        account, other = make_account(), make_account()
        text = run("list_accounts", "--user-email", account.user.email)
        assert account.address in text
        assert other.address not in text
        assert other.address in run("list_accounts")
        assert SECRET not in text

    def test_mailboxes(self) -> None:
        account = make_account()
        fence = make_fence(account)
        add_skeleton(fence, make_mailboxes(fence, "Entwürfe")[0], [skeleton_row(1)])
        lines = run("list_mailboxes", "--account-email", account.address).splitlines()
        assert lines[1].split()[:5] == ["Entwürfe", "-", "1", "1", "100"]
        assert lines[2].split()[0] == "INBOX"

    def test_an_address_that_two_users_have(self) -> None:
        first, second = make_account(), make_account()
        Account.objects.update(address="shared@example.test")
        with pytest.raises(CommandError, match="say whose with --user-email"):
            run("list_mailboxes", "--account-email", "shared@example.test")
        run("list_mailboxes", "--account-email", "shared@example.test", "--user-email", second.user.email)
        with pytest.raises(CommandError, match=f"account not found: other@example.test of {first.user}"):
            run("list_mailboxes", "--account-email", "other@example.test", "--user-email", first.user.email)


def test_rotate_sealing_key() -> None:
    account = make_account()
    before = bytes(account.sealed_secret)
    assert "1 accounts" in run("rotate_sealing_key")
    account.refresh_from_db()
    assert bytes(account.sealed_secret) != before
    assert open_secret(account) == SECRET
    assert SealingKey.objects.count() == 2
    assert AuditEvent.objects.filter(action="sealing_key.rotate").exists()


class TestShowSyncStatus:
    @pytest.fixture
    def account(self) -> Account:
        account = make_account()
        fence = make_fence(account)
        add_skeleton(fence, make_mailboxes(fence)[0], [skeleton_row(1, size=1000), skeleton_row(2, size=1000)])
        reason = {"state": AccountState.FAILING, "state_reason": "timed out"}
        Account.objects.filter(pk=account.pk).update(**reason)
        Listing.objects.filter(uid=2).update(parked_reason="the server says NO")
        SyncRun.objects.create(account=account, kind=SyncKind.FULL, messages_added=2, commands=7, bytes_in=1500)
        return account

    def test_table(self, account: Account) -> None:
        make_account()
        lines = run("show_sync_status").splitlines()
        assert len(lines) == 3
        assert lines[1].startswith(account.address)
        assert "syncing" in lines[1]
        assert "2 (2.0 kB)" in lines[1]
        assert lines[1].endswith("timed out")
        assert len(run("show_sync_status", "--user-email", account.user.email).splitlines()) == 2

    def test_one_account_in_detail(self, account: Account) -> None:
        text = run("show_sync_status", "--account-email", account.address)
        for part in (
            "state:        syncing", "here:         2 messages (2.0 kB) in 1 mailboxes", "1: the server says NO",
            "2 new; 1.5 kB received in 7 commands", "INBOX   2     ?",
        ):  # fmt: skip
            assert part in text

    def test_json(self, account: Account) -> None:
        (status,) = json.loads(run("show_sync_status", "--json", "--account-email", account.address))
        assert (status["account"], status["state"], status["reason"]) == (account.address, "failing", "timed out")
        assert (status["messages"], status["bodies_waiting"], status["run"]["commands"]) == (2, 2, 7)
        assert json.loads(run("show_sync_status", "--json"))[0]["account"] == account.address
