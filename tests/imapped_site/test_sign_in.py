"""Signing accounts in at an authorization server, as an operator does it: consent page, code, command line."""

from __future__ import annotations

import http.client
import io
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from mailcache.models import Account, AccountState, AuditEvent, AuthMethod, OAuthGrant
from tests.builders import make_account, make_oauth_account
from tests.fakes.authorization_server import AuthorizationServer
from tests.imapped_site.consoles import make_operator

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(make_operator())
    return client


@pytest.fixture
def account() -> Account:
    return make_oauth_account(AuthMethod.OAUTHBEARER)


def page(account: Account, name: str = "change") -> str:
    return reverse(f"admin:mailcache_account_{name}", args=[account.pk])


def consent(operator: Client, account: Account) -> str:
    """Press the button and consent as a browser would; returns where the provider sends the browser."""
    url = urlsplit(operator.post(page(account, "sign_in")).headers["Location"])
    browser = http.client.HTTPConnection(url.netloc, timeout=10)
    browser.request("GET", f"{url.path}?{url.query}")
    location = browser.getresponse().headers["Location"]
    browser.close()
    back = urlsplit(location)
    return f"{back.path}?{back.query}"


def test_consent_page(operator: Client, authorization_server: AuthorizationServer, account: Account) -> None:
    answer = operator.get(consent(operator, account), follow=True).content.decode()
    assert "is signed in and will be synced now" in answer
    account.refresh_from_db()
    assert account.state == AccountState.ACTIVE
    assert OAuthGrant.objects.get(account=account).provider == "generic"
    event = AuditEvent.objects.get(action="account.sign_in")
    assert (event.account, event.detail) == (account, {"provider": "generic"})
    (form,) = authorization_server.forms
    assert form["redirect_uri"] == "http://localhost:8080/admin/oauth/callback/"


def test_a_consent_that_nobody_began_here_is_refused(
    operator: Client, authorization_server: AuthorizationServer, account: Account
) -> None:
    back = consent(operator, account)
    stranger = Client()
    stranger.force_login(make_operator("other@example.test"))
    assert "has not begun to sign in here" in stranger.get(back, follow=True).content.decode()
    forged = reverse("oauth_callback") + "?state=guessed&code=stolen"
    assert "has not begun to sign in here" in operator.get(forged, follow=True).content.decode()
    # The forged answer used the consent up: the true one has to be begun again.
    assert "has not begun to sign in here" in operator.get(back, follow=True).content.decode()
    assert not OAuthGrant.objects.exists()


def test_a_refused_consent_is_told(
    operator: Client, authorization_server: AuthorizationServer, account: Account
) -> None:
    authorization_server.denies = True
    assert "access_denied" in operator.get(consent(operator, account), follow=True).content.decode()


def test_the_callback_is_for_operators(client: Client) -> None:
    answer = client.get(reverse("oauth_callback") + "?state=a&code=b")
    assert answer.status_code == 302
    assert "/login/" in answer.headers["Location"]


def test_a_password_account_has_nothing_to_sign_in_to(
    operator: Client, authorization_server: AuthorizationServer
) -> None:
    account = make_account()
    assert "Sign in at the provider" not in operator.get(page(account)).content.decode()
    answer = operator.post(page(account, "sign_in"), follow=True).content.decode()
    assert "logs in with a password" in answer


def test_a_provider_that_is_not_set_up_is_named(operator: Client, settings: Settings, account: Account) -> None:
    settings.OAUTH_PROVIDERS = {}
    answer = operator.post(page(account, "sign_in"), follow=True).content.decode()
    assert "OAUTH_GENERIC_" in answer


def test_device_code(operator: Client, authorization_server: AuthorizationServer, account: Account) -> None:
    authorization_server.pending = 1
    shown = operator.post(page(account, "device"), follow=True).content.decode()
    assert "WDJB-MJHT" in shown
    assert f"{authorization_server.url}/enter" in shown
    assert "device-1" not in shown
    answer = operator.get(page(account, "device"), follow=True).content.decode()
    assert "is signed in and will be synced now" in answer
    account.refresh_from_db()
    assert account.state == AccountState.ACTIVE


def test_command(authorization_server: AuthorizationServer, account: Account) -> None:
    out = io.StringIO()
    call_command("sign_in", account_email=account.address, stdout=out)
    assert "enter WDJB-MJHT" in out.getvalue()
    assert "is signed in" in out.getvalue()
    assert OAuthGrant.objects.filter(account=account).exists()


def test_command_tells_what_the_provider_says(authorization_server: AuthorizationServer, account: Account) -> None:
    authorization_server.error = "expired_token"
    with pytest.raises(CommandError, match="sign in again: the provider says expired_token"):
        call_command("sign_in", account_email=account.address, stdout=io.StringIO())
