"""The door to authorization servers: the only importer of Authlib and requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from django.conf import settings
from django.utils import timezone
from requests.adapters import HTTPAdapter

from sync.oauth.errors import SignInNeeded, SignInPending, TokenServerFailed, TokenServerTimedOut
from sync.oauth.providers import Provider
from sync.upstream.tls import client_context

# What a worker of the fast lane grants an upstream: once for the connection, once for the answer.
_TIMEOUT_SECONDS = 10.0
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
# Where a provider does not say how long a token lives.
_DEFAULT_LIFETIME = 3600
# Errors that no second try mends (RFC 6749 5.2, RFC 8628 3.5).
_FINAL = frozenset({"invalid_grant", "access_denied", "expired_token", "interaction_required", "consent_required"})


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the token endpoint gave; ``refresh_token`` is empty where the old one stays valid."""

    access_token: str = field(repr=False)
    expires_at: datetime
    refresh_token: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """A sign-in that a person finishes on any device by entering ``user_code`` at ``verification_url``."""

    device_code: str = field(repr=False)
    user_code: str
    verification_url: str
    interval: int
    """Seconds between two looks at whether it has been entered."""
    expires_at: datetime


def consent_url(provider: Provider, *, redirect_url: str, state: str, verifier: str, login_hint: str) -> str:
    """Return the address of the consent page, with PKCE (RFC 7636)."""
    with _session(provider, redirect_url=redirect_url) as session:
        url, _ = session.create_authorization_url(
            provider.authorization_url, state=state, code_verifier=verifier, login_hint=login_hint, **provider.extra
        )
        return str(url)


def redeem_code(provider: Provider, *, redirect_url: str, code: str, verifier: str) -> Tokens:
    """Exchange the code that the consent page sent back; raises ``SignInNeeded`` or ``TokenServerFailed``."""
    return _tokens(provider, redirect_url=redirect_url, code=code, code_verifier=verifier)


def refresh(provider: Provider, *, refresh_token: str) -> Tokens:
    """Return a new access token; raises ``SignInNeeded`` when the grant is no longer valid."""
    return _tokens(provider, grant_type="refresh_token", refresh_token=refresh_token)


def begin_device_sign_in(provider: Provider) -> DeviceCode:
    """Ask for a device code (RFC 8628 3.1); raises ``TokenServerFailed``."""
    form = {"client_id": provider.client_id, "scope": " ".join(provider.scopes)}
    try:
        with _session(provider) as session:
            answer = session.request("POST", provider.device_url, data=form, withhold_token=True)
            answer.raise_for_status()
            told = answer.json()
        lifetime = timedelta(seconds=int(told["expires_in"]))
        return DeviceCode(
            device_code=str(told["device_code"]),
            user_code=str(told["user_code"]),
            verification_url=str(told.get("verification_uri") or told["verification_url"]),
            interval=max(1, int(told.get("interval", 5))),
            expires_at=timezone.now() + lifetime,
        )
    except (requests.RequestException, ValueError, KeyError) as error:
        raise _failed(provider, error) from error


def redeem_device_code(provider: Provider, *, device_code: str) -> Tokens:
    """Exchange a device code; raises ``SignInPending`` until the person has entered it."""
    return _tokens(provider, grant_type=_DEVICE_GRANT, device_code=device_code)


def _tokens(provider: Provider, *, redirect_url: str = "", **form: str) -> Tokens:
    try:
        with _session(provider, redirect_url=redirect_url) as session:
            told = session.fetch_token(provider.token_url, allow_redirects=False, **form)
        lifetime = int(told.get("expires_in") or _DEFAULT_LIFETIME)
        return Tokens(
            access_token=str(told["access_token"]),
            expires_at=timezone.now() + timedelta(seconds=lifetime),
            refresh_token=str(told.get("refresh_token") or ""),
        )
    except OAuthError as error:
        if error.error in ("authorization_pending", "slow_down"):
            raise SignInPending(slow_down=error.error == "slow_down") from None
        if error.error in _FINAL:
            raise SignInNeeded(f"sign in again: {provider.title} says {error.error}") from error
        raise _failed(provider, error) from error
    except (requests.RequestException, ValueError, KeyError) as error:
        raise _failed(provider, error) from error


class _TrustingAdapter(HTTPAdapter):
    """Trusts what connections to upstreams trust: the system's authorities and ``UPSTREAM_CA_FILE``."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=client_context(settings.UPSTREAM_CA_FILE), **kwargs)


def _session(provider: Provider, *, redirect_url: str = "") -> OAuth2Session:
    session = OAuth2Session(
        client_id=provider.client_id,
        client_secret=provider.client_secret or None,
        token_endpoint_auth_method="client_secret_post" if provider.client_secret else "none",
        scope=" ".join(provider.scopes),
        redirect_uri=redirect_url or None,
        code_challenge_method="S256",
        default_timeout=_TIMEOUT_SECONDS,
    )
    session.mount("https://", _TrustingAdapter())
    return session


def _failed(provider: Provider, error: Exception) -> TokenServerFailed:
    # The text of an HTTP error may hold the request; its kind is enough.
    said = error.error if isinstance(error, OAuthError) else type(error).__name__
    kind = TokenServerTimedOut if _is_timeout(error) else TokenServerFailed
    return kind(f"{provider.title}'s authorization server: {said}")


def _is_timeout(error: BaseException | None) -> bool:
    """Tell whether nothing came for too long; of an answer that had begun requests says that the connection failed."""
    while error is not None:
        if isinstance(error, (requests.Timeout, TimeoutError)):
            return True
        error = error.__cause__ or error.__context__
    return False
