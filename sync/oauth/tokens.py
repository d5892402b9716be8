"""Access tokens of accounts: the stored one while it is good, else a new one, fetched once for the whole fleet."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.utils import timezone

from mailcache.errors import InvalidValue
from mailcache.models import Account, OAuthGrant
from mailcache.services import oauth_grants
from sync.oauth import http
from sync.oauth.conf import provider_named
from sync.oauth.errors import SignInNeeded, TokenServerFailed, TokenServerTimedOut

# A token is replaced this long before it ends: logins may be slow, and clocks differ.
REFRESH_BEFORE = timedelta(minutes=5)
# Longer than the request to the authorization server can take.
_CLAIM = timedelta(seconds=45)
# Whoever waits for another one's request to end occupies a worker, and is tried again elsewhere.
_PATIENCE = timedelta(seconds=10)
_LOOK_SECONDS = 0.2


def access_token(account: Account, *, sleep: Callable[[float], None] = time.sleep) -> str:
    """Return an access token that is valid for some minutes; raises ``SignInNeeded`` or ``TokenServerFailed``.

    Of all processes that find the token running out one refreshes it. The others go on with the old one while it
    lasts, else they wait for the new one.
    """
    give_up = timezone.now() + _PATIENCE
    while True:
        grant = OAuthGrant.objects.filter(account_id=account.pk).first()
        if grant is None:
            raise SignInNeeded("nobody has signed in at the provider yet; do it on the account's page")
        now = timezone.now()
        if _lasts_until(grant, now + REFRESH_BEFORE):
            return oauth_grants.open_access_token(grant)
        expires_at = grant.access_expires_at
        if oauth_grants.claim_refresh(account_id=account.pk, expires_at=expires_at, until=now + _CLAIM, now=now):
            return _refresh(grant)
        if _lasts_until(grant, now):
            return oauth_grants.open_access_token(grant)
        if now > give_up:
            raise TokenServerTimedOut("another process has been refreshing the access token for too long")
        sleep(_LOOK_SECONDS)


def _lasts_until(grant: OAuthGrant, moment: datetime) -> bool:
    return grant.access_expires_at is not None and grant.access_expires_at > moment


def _refresh(grant: OAuthGrant) -> str:
    try:
        provider = provider_named(grant.provider)
        tokens = http.refresh(provider, refresh_token=oauth_grants.open_refresh_token(grant))
    except InvalidValue as error:
        oauth_grants.release_refresh(account_id=grant.account_id)
        raise TokenServerFailed(str(error)) from error
    except (SignInNeeded, TokenServerFailed):
        oauth_grants.release_refresh(account_id=grant.account_id)
        raise
    oauth_grants.store_access_token(
        account_id=grant.account_id,
        access_token=tokens.access_token,
        expires_at=tokens.expires_at,
        refresh_token=tokens.refresh_token,
    )
    return tokens.access_token
