"""OAuth grants of accounts: storing them, and who refreshes the access token."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from mailcache.errors import InvalidValue
from mailcache.models import Account, AccountState, OAuthGrant
from mailcache.services.sealed_secrets import open_token, seal_secret


@transaction.atomic
def store_grant(
    *, account_id: int, provider: str, refresh_token: str, access_token: str, expires_at: datetime
) -> OAuthGrant:
    """Keep what a person has just consented to; an account that was waiting for it is synced again.

    Raises ``InvalidValue`` for a grant without a refresh token: it would end within the hour.
    """
    if not refresh_token:
        raise InvalidValue("the provider gave no refresh token; revoke imapped's access there and sign in again")
    account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
    grant, _ = OAuthGrant.objects.update_or_create(
        account=account,
        defaults={
            "provider": provider,
            "sealed_refresh_token": seal_secret(account_id=account_id, secret=refresh_token),
            "sealed_access_token": seal_secret(account_id=account_id, secret=access_token),
            "access_expires_at": expires_at,
            "refreshing_until": None,
            "granted_at": timezone.now(),
        },
    )
    Account.objects.filter(pk=account_id).update(
        state=AccountState.ACTIVE, state_reason="", failures=0, next_sync_at=timezone.now()
    )
    return grant


@transaction.atomic
def claim_refresh(*, account_id: int, expires_at: datetime | None, until: datetime, now: datetime) -> bool:
    """Make the caller the one who refreshes the access token that ends at ``expires_at``, until then.

    False while somebody else is, and when somebody else has since the caller looked.
    """
    free = Q(refreshing_until=None) | Q(refreshing_until__lte=now)
    grants = OAuthGrant.objects.filter(free, account_id=account_id, access_expires_at=expires_at)
    return bool(grants.update(refreshing_until=until))


@transaction.atomic
def release_refresh(*, account_id: int) -> None:
    """Let the next one try to refresh the access token."""
    OAuthGrant.objects.filter(account_id=account_id).update(refreshing_until=None)


@transaction.atomic
def store_access_token(*, account_id: int, access_token: str, expires_at: datetime, refresh_token: str = "") -> None:
    """Keep a refreshed access token, and the refresh token where the provider replaced it."""
    values: dict[str, Any] = {
        "sealed_access_token": seal_secret(account_id=account_id, secret=access_token),
        "access_expires_at": expires_at,
        "refreshing_until": None,
    }
    if refresh_token:
        values["sealed_refresh_token"] = seal_secret(account_id=account_id, secret=refresh_token)
    OAuthGrant.objects.filter(account_id=account_id).update(**values)


@transaction.atomic
def forget_access_token(*, account_id: int) -> bool:
    """Have the next login fetch a new access token: the upstream refused this one. False where there was none."""
    grants = OAuthGrant.objects.filter(account_id=account_id, access_expires_at__isnull=False)
    return bool(grants.update(sealed_access_token=None, access_expires_at=None))


def open_access_token(grant: OAuthGrant) -> str:
    """Return the access token; raises ``SealBroken``."""
    return open_token(account_id=grant.account_id, sealed=bytes(grant.sealed_access_token or b""))


def open_refresh_token(grant: OAuthGrant) -> str:
    """Return the refresh token; raises ``SealBroken``."""
    return open_token(account_id=grant.account_id, sealed=bytes(grant.sealed_refresh_token))
