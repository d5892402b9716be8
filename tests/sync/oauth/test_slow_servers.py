"""Authorization servers that keep everybody waiting: an account whose token is not to be had goes to the slow lane."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from mailcache.models import Account, AuthMethod, OAuthGrant
from mailcache.services import oauth_grants
from sync.account_run import SliceEnd, run_slice
from sync.causes import cause_of
from sync.lanes import Lane, slow_accounts
from sync.models import FailureCause
from sync.oauth import http, tokens
from sync.oauth.errors import TokenServerFailed
from sync.oauth.tokens import access_token
from sync.upstream.errors import TimedOut
from tests.builders import make_oauth_account
from tests.fakes.authorization_server import AuthorizationServer
from tests.fakes.scripted_imap import Action, Answer, ScriptedImap

pytestmark = pytest.mark.django_db(transaction=True)

SILENT = Action.HANG
STALLED = (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", Action.HANG)


@pytest.fixture
def token_server(
    request: pytest.FixtureRequest,
    authorization_server: AuthorizationServer,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ScriptedImap]:
    """One that says nothing, or not all of what it says."""
    says: Answer = getattr(request, "param", SILENT)
    monkeypatch.setattr(http, "_TIMEOUT_SECONDS", 0.3)
    with ScriptedImap(greeting=says) as server:
        provider = replace(authorization_server.provider, token_url=f"http://127.0.0.1:{server.port}/token")
        settings.OAUTH_PROVIDERS = {provider.name: provider}
        yield server


@pytest.fixture
def account(authorization_server: AuthorizationServer) -> Account:
    """An account whose access token has ended."""
    account = make_oauth_account(AuthMethod.XOAUTH2)
    oauth_grants.store_grant(
        account_id=account.pk,
        provider=authorization_server.provider.name,
        refresh_token=authorization_server.new_refresh_token(),
        access_token="first",
        expires_at=timezone.now(),
    )
    return account


@pytest.mark.parametrize("token_server", [SILENT, STALLED], ids=["silent", "stalled"], indirect=True)
def test_a_server_that_keeps_us_waiting_has_timed_out(account: Account, token_server: ScriptedImap) -> None:
    with pytest.raises(TimedOut) as failure:
        access_token(account)
    assert isinstance(failure.value, TokenServerFailed)
    assert cause_of(failure.value) is FailureCause.TIMEOUT
    assert "refresh-" not in str(failure.value)
    assert OAuthGrant.objects.get(account=account).refreshing_until is None


def test_whoever_refreshes_is_not_waited_for_for_long(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_PATIENCE", timedelta(seconds=0.3))
    now = timezone.now()
    expires_at = OAuthGrant.objects.get(account=account).access_expires_at
    until = now + timedelta(seconds=45)
    assert oauth_grants.claim_refresh(account_id=account.pk, expires_at=expires_at, until=until, now=now)
    with pytest.raises(TimedOut, match="another process"):
        access_token(account)
    # Whose claim it is still refreshes it.
    assert OAuthGrant.objects.get(account=account).refreshing_until == until


def test_the_account_goes_to_the_slow_lane(account: Account, token_server: ScriptedImap) -> None:
    assert run_slice(account.pk, full=True, lane=Lane.FAST) is SliceEnd.SLOW
    account.refresh_from_db()
    assert (account.failures, slow_accounts([account.pk], timezone.now())) == (0, {account.pk})
    assert run_slice(account.pk, full=True, lane=Lane.SLOW) is SliceEnd.FAILED
    account.refresh_from_db()
    assert account.failures == 1
