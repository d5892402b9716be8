"""Access tokens: used while they last, refreshed once for everybody, and what happens when they cannot be."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from mailcache.errors import InvalidValue
from mailcache.models import Account, AccountState, AuthMethod, OAuthGrant
from mailcache.services import oauth_grants, sealed_secrets
from sync.connection import credentials_of, log_in
from sync.oauth.errors import SignInNeeded, TokenServerFailed
from sync.oauth.tokens import access_token
from sync.upstream.endpoint import Credentials
from sync.upstream.errors import AuthFailed
from tests.builders import make_oauth_account
from tests.fakes.authorization_server import AuthorizationServer

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return make_oauth_account(AuthMethod.XOAUTH2)


def grant(account: Account, server: AuthorizationServer, *, minutes: float) -> None:
    oauth_grants.store_grant(
        account_id=account.pk,
        provider=server.provider.name,
        refresh_token=server.new_refresh_token(),
        access_token="first",
        expires_at=timezone.now() + timedelta(minutes=minutes),
    )


def test_an_account_waits_for_its_grant(account: Account) -> None:
    assert account.state == AccountState.AUTH_FAILED
    assert "sign in" in account.state_reason
    with pytest.raises(SignInNeeded):
        credentials_of(account)


def test_a_grant_wakes_the_account(account: Account, authorization_server: AuthorizationServer) -> None:
    grant(account, authorization_server, minutes=60)
    account.refresh_from_db()
    assert (account.state, account.state_reason) == (AccountState.ACTIVE, "")
    assert credentials_of(account) == Credentials("xoauth2", "me@example.test", "first")
    assert authorization_server.forms == []


def test_a_grant_needs_a_refresh_token(account: Account) -> None:
    with pytest.raises(InvalidValue):
        oauth_grants.store_grant(
            account_id=account.pk, provider="generic", refresh_token="", access_token="a", expires_at=timezone.now()
        )


def test_tokens_are_sealed(account: Account, authorization_server: AuthorizationServer) -> None:
    grant(account, authorization_server, minutes=60)
    row = OAuthGrant.objects.get(account=account)
    assert b"first" not in bytes(row.sealed_access_token or b"")
    assert b"refresh-" not in bytes(row.sealed_refresh_token)
    sealed_secrets.rotate_sealing_key()
    assert oauth_grants.open_refresh_token(OAuthGrant.objects.get(account=account)).startswith("refresh-")


def test_refreshed_before_it_ends(account: Account, authorization_server: AuthorizationServer) -> None:
    grant(account, authorization_server, minutes=4)
    assert access_token(account) == access_token(account) == "access-2"
    assert [form["grant_type"] for form in authorization_server.forms] == ["refresh_token"]


def test_a_replaced_refresh_token_is_kept(account: Account, authorization_server: AuthorizationServer) -> None:
    authorization_server.rotates = True
    grant(account, authorization_server, minutes=0)
    access_token(account)
    row = OAuthGrant.objects.get(account=account)
    assert oauth_grants.open_refresh_token(row) != authorization_server.forms[0]["refresh_token"]


def test_a_grant_taken_back_asks_for_a_new_sign_in(account: Account, authorization_server: AuthorizationServer) -> None:
    grant(account, authorization_server, minutes=0)
    authorization_server.revoke_all()
    with pytest.raises(SignInNeeded, match="sign in again"):
        access_token(account)
    assert OAuthGrant.objects.get(account=account).refreshing_until is None


@pytest.mark.parametrize("fault", ["broken", "invalid_client", "away"])
def test_an_outage_is_no_refusal(account: Account, authorization_server: AuthorizationServer, fault: str) -> None:
    grant(account, authorization_server, minutes=0)
    if fault == "away":
        authorization_server.close()
    elif fault == "broken":
        authorization_server.broken = True
    else:
        authorization_server.error = fault
    with pytest.raises(TokenServerFailed) as failure:
        access_token(account)
    assert "refresh-" not in str(failure.value)
    assert "client secret" not in str(failure.value)


def claim(account: Account, *, until: datetime, now: datetime) -> bool:
    """Claim the refreshing of the token that is there."""
    expires_at = OAuthGrant.objects.get(account=account).access_expires_at
    return oauth_grants.claim_refresh(account_id=account.pk, expires_at=expires_at, until=until, now=now)


def test_whoever_looked_before_it_was_refreshed_does_not_refresh_it_again(
    account: Account, authorization_server: AuthorizationServer
) -> None:
    grant(account, authorization_server, minutes=0)
    seen, now = OAuthGrant.objects.get(account=account).access_expires_at, timezone.now()
    assert access_token(account) == "access-2"
    assert not oauth_grants.claim_refresh(account_id=account.pk, expires_at=seen, until=now, now=now)


def test_others_go_on_with_the_old_token_meanwhile(account: Account, authorization_server: AuthorizationServer) -> None:
    grant(account, authorization_server, minutes=2)
    now = timezone.now()
    assert claim(account, until=now + timedelta(seconds=45), now=now)
    assert access_token(account) == "first"
    assert authorization_server.forms == []


def test_whoever_died_while_refreshing_is_replaced(account: Account, authorization_server: AuthorizationServer) -> None:
    grant(account, authorization_server, minutes=0)
    past = timezone.now() - timedelta(seconds=1)
    assert claim(account, until=past, now=past)
    assert access_token(account) == "access-2"


@pytest.mark.django_db(transaction=True)
def test_one_of_many_refreshes(account: Account, authorization_server: AuthorizationServer) -> None:
    grant(account, authorization_server, minutes=0)
    authorization_server.answering.clear()
    found: list[str] = []

    def ask() -> None:
        try:
            found.append(access_token(account))
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    authorization_server.answering.set()
    for thread in threads:
        thread.join(30)
    assert found == ["access-2"] * 4
    assert len(authorization_server.forms) == 1


def test_a_token_refused_before_its_time_is_replaced_once(
    account: Account, authorization_server: AuthorizationServer
) -> None:
    grant(account, authorization_server, minutes=60)
    tried: list[str] = []

    def connect(credentials: Credentials) -> str:
        tried.append(credentials.secret)
        if credentials.secret == "first":
            raise AuthFailed("expired")
        return "connected"

    assert log_in(account, connect) == "connected"
    assert tried == ["first", "access-2"]


def test_a_fresh_token_that_is_refused_is_a_refusal(
    account: Account, authorization_server: AuthorizationServer
) -> None:
    grant(account, authorization_server, minutes=60)
    tried: list[str] = []

    def connect(credentials: Credentials) -> str:
        tried.append(credentials.secret)
        raise AuthFailed("no mailbox for you")

    with pytest.raises(AuthFailed):
        log_in(account, connect)
    assert tried == ["first", "access-2"]
