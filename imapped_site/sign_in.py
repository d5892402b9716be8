"""Signing an account in at its OAuth 2.0 provider: by the browser's consent page, or by a code entered elsewhere."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from imapped_site.operations import Operator, note
from mailcache.errors import InvalidValue, MailcacheError
from mailcache.models import OAUTH_METHODS, Account
from mailcache.services.oauth_grants import store_grant
from sync.oauth import http
from sync.oauth.conf import provider_named, provider_of
from sync.oauth.errors import SignInPending
from sync.oauth.http import DeviceCode, Tokens
from sync.oauth.providers import Provider
from sync.scheduling import request_sync
from sync.upstream.errors import UpstreamError

_STATE_BYTES = 32
# RFC 7636 4.1: 43 to 128 characters.
_VERIFIER_BYTES = 48


class SignInFailed(MailcacheError):
    """The provider or the person said no; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent that has begun: where the browser goes, and what its session keeps until it comes back."""

    url: str
    remembered: dict[str, str]


def begin_consent(*, account: Account) -> Consent:
    """Return the provider's consent page for an account; raises ``InvalidValue``."""
    provider = _provider(account)
    state, verifier = secrets.token_urlsafe(_STATE_BYTES), secrets.token_urlsafe(_VERIFIER_BYTES)
    url = http.consent_url(
        provider, redirect_url=redirect_url(), state=state, verifier=verifier, login_hint=account.username
    )
    return Consent(url, {"state": state, "verifier": verifier, "account": str(account.pk), "provider": provider.name})


def finish_consent(*, by: Operator, remembered: Mapping[str, str], answer: Mapping[str, str]) -> Account:
    """Take the browser back from the consent page; raises ``SignInFailed`` unless it is the one that was sent there."""
    if not remembered or not compare_digest(remembered["state"], answer.get("state", "")):
        raise SignInFailed("this browser has not begun to sign in here, or not as the last one; begin again")
    if "code" not in answer:
        raise SignInFailed(f"the provider did not consent: {answer.get('error', 'no reason given')[:100]}")
    account = Account.objects.get(pk=int(remembered["account"]))
    provider = provider_named(remembered["provider"])
    try:
        tokens = http.redeem_code(
            provider, redirect_url=redirect_url(), code=answer["code"], verifier=remembered["verifier"]
        )
    except UpstreamError as error:
        raise SignInFailed(str(error)) from error
    _keep(by, account, provider, tokens)
    return account


def begin_device_sign_in(*, account: Account) -> DeviceCode:
    """Return a code to be entered on any device; raises ``InvalidValue`` or ``SignInFailed``."""
    provider = _provider(account)
    if not provider.device_url:
        raise InvalidValue(f"{provider.title} offers no sign-in by code for mail; use the consent page")
    try:
        return http.begin_device_sign_in(provider)
    except UpstreamError as error:
        raise SignInFailed(str(error)) from error


def finish_device_sign_in(*, by: Operator, account: Account, device_code: str) -> bool:
    """Look whether the code has been entered; True when the account is signed in. Raises ``SignInFailed``."""
    provider = _provider(account)
    try:
        tokens = http.redeem_device_code(provider, device_code=device_code)
    except SignInPending:
        return False
    except UpstreamError as error:
        raise SignInFailed(str(error)) from error
    _keep(by, account, provider, tokens)
    return True


def redirect_url() -> str:
    """Return where providers send browsers back to; it has to be registered with them."""
    return f"{settings.APP_BASE_URL.rstrip('/')}{reverse('oauth_callback')}"


def _provider(account: Account) -> Provider:
    if account.auth_method not in OAUTH_METHODS:
        raise InvalidValue(f"{account} logs in with a password; choose an OAuth 2.0 method first")
    return provider_of(account)


@transaction.atomic
def _keep(by: Operator, account: Account, provider: Provider, tokens: Tokens) -> None:
    store_grant(
        account_id=account.pk,
        provider=provider.name,
        refresh_token=tokens.refresh_token,
        access_token=tokens.access_token,
        expires_at=tokens.expires_at,
    )
    request_sync(account_id=account.pk)
    note(by, "account.sign_in", account=account, provider=provider.name)
