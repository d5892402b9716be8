"""Testing a connection: against a real Dovecot, and against things that are none."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from imapped_site.operations import Operator
from imapped_site.upstream_test import UpstreamTestFailed, try_upstream
from mailcache.models import Account, AccountState, AuditEvent, AuthMethod, TlsMode
from mailcache.services import accounts
from tests.builders import make_user
from tests.imapped_site.consoles import make_operator
from tests.servers.dovecot import PASSWORD, Dovecot

pytestmark = [pytest.mark.django_db, pytest.mark.dovecot]

BY = Operator("tester")


@pytest.fixture(autouse=True)
def trusted(settings: Settings, dovecot: Dovecot) -> None:
    settings.UPSTREAM_CA_FILE = dovecot.ca_file


def make(
    dovecot: Dovecot,
    user: str,
    *,
    host: str = "localhost",
    port: int | None = None,
    tls_mode: TlsMode = TlsMode.TLS,
    auth_method: AuthMethod = AuthMethod.LOGIN,
    secret: str = PASSWORD,
) -> Account:
    ports = {TlsMode.TLS: dovecot.tls_port, TlsMode.STARTTLS: dovecot.plain_port, TlsMode.PLAIN: dovecot.plain_port}
    return accounts.create_account(
        user=make_user(),
        address=f"{user}@example.test",
        host=host,
        port=port or ports[tls_mode],
        tls_mode=tls_mode,
        auth_method=auth_method,
        username=user,
        secret=secret,
    )


@pytest.mark.parametrize("tls_mode", list(TlsMode))
@pytest.mark.parametrize("auth_method", [AuthMethod.LOGIN, AuthMethod.PLAIN])
def test_success(dovecot: Dovecot, upstream_user: str, tls_mode: TlsMode, auth_method: AuthMethod) -> None:
    account = make(dovecot, upstream_user, tls_mode=tls_mode, auth_method=auth_method)
    report = try_upstream(by=BY, account=account)
    assert {"INBOX", "Sent", "Drafts"} <= set(report.mailboxes)
    assert "IDLE" in report.capabilities
    assert f"logged in to localhost:{account.port} as {upstream_user}" in report.summary
    assert AuditEvent.objects.get(action="account.test").detail == {"outcome": "ok"}


def test_wrong_password(dovecot: Dovecot, upstream_user: str) -> None:
    account = make(dovecot, upstream_user, secret="wrong")
    with pytest.raises(UpstreamTestFailed, match="refuses the user name") as caught:
        try_upstream(by=BY, account=account)
    event = AuditEvent.objects.get(action="account.test")
    assert "refuses" in event.detail["outcome"]
    assert "wrong" not in str(caught.value) + str(event.detail)


def test_nobody_listens(dovecot: Dovecot, upstream_user: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        account = make(dovecot, upstream_user, port=taken.getsockname()[1])
        with pytest.raises(UpstreamTestFailed, match="Cannot connect to localhost"):
            try_upstream(by=BY, account=account)


def test_no_such_host(dovecot: Dovecot, upstream_user: str) -> None:
    account = make(dovecot, upstream_user, host="no-such-host.invalid")
    with pytest.raises(UpstreamTestFailed, match="Check the host name"):
        try_upstream(by=BY, account=account)


def test_a_certificate_nobody_vouches_for(dovecot: Dovecot, upstream_user: str, settings: Settings) -> None:
    settings.UPSTREAM_CA_FILE = None
    with pytest.raises(UpstreamTestFailed, match="UPSTREAM_CA_FILE"):
        try_upstream(by=BY, account=make(dovecot, upstream_user))


def test_tls_on_a_plaintext_port(dovecot: Dovecot, upstream_user: str) -> None:
    account = make(dovecot, upstream_user, port=dovecot.plain_port)
    with pytest.raises(UpstreamTestFailed, match="STARTTLS"):
        try_upstream(by=BY, account=account)


def test_refused_credentials_that_work_again(dovecot: Dovecot, upstream_user: str) -> None:
    account = make(dovecot, upstream_user)
    Account.objects.update(state=AccountState.AUTH_FAILED)
    account.refresh_from_db()
    try_upstream(by=BY, account=account)
    account.refresh_from_db()
    assert account.state == AccountState.FAILING


class TestCommand:
    def run(self, account: Account) -> str:
        output = io.StringIO()
        call_command("test_upstream", "--account-email", account.address, stdout=output)
        return output.getvalue()

    def test_success(self, dovecot: Dovecot, upstream_user: str) -> None:
        lines = self.run(make(dovecot, upstream_user)).splitlines()
        assert "logged in" in lines[0]
        assert lines[1].startswith("capabilities: ")
        assert "  INBOX" in lines

    def test_failure(self, dovecot: Dovecot, upstream_user: str) -> None:
        with pytest.raises(CommandError, match="refuses the user name"):
            self.run(make(dovecot, upstream_user, secret="wrong"))


@pytest.fixture
def operator(client: Client) -> Iterator[Client]:
    client.force_login(make_operator())
    yield client
    client.logout()


class TestConsole:
    def test_button(self, operator: Client, dovecot: Dovecot, upstream_user: str) -> None:
        url = reverse("admin:mailcache_account_test", args=[make(dovecot, upstream_user).pk])
        assert "logged in to localhost" in operator.post(url, follow=True).content.decode()

    def test_action_tells_of_each(self, operator: Client, dovecot: Dovecot) -> None:
        rows = [make(dovecot, "right"), make(dovecot, "wrong", secret="no")]
        form = {"action": "test_selected", "_selected_action": [row.pk for row in rows]}
        text = operator.post(reverse("admin:mailcache_account_changelist"), form, follow=True).content.decode()
        assert "logged in to localhost" in text
        assert "refuses the user name" in text
