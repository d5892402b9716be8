"""Which providers imapped is registered with, from the settings."""

from __future__ import annotations

from django.conf import settings

from mailcache.errors import InvalidValue
from mailcache.models import Account
from sync.oauth.providers import GENERIC_PROVIDER, PROVIDER_OF_PROFILE, Provider
from sync.profiles import choose_profile


def configured_providers() -> dict[str, Provider]:
    """Return the providers that the settings name, by name."""
    providers: dict[str, Provider] = settings.OAUTH_PROVIDERS
    return providers


def provider_named(name: str) -> Provider:
    """Return a provider; raises ``InvalidValue`` where the settings lack it."""
    provider = configured_providers().get(name)
    if provider is None:
        raise InvalidValue(f"signing in with {name} is not set up: see the OAUTH_{name.upper()}_ settings")
    return provider


def provider_of(account: Account) -> Provider:
    """Return the provider whose tokens an account's upstream takes; raises ``InvalidValue``."""
    profile = choose_profile(host=account.host, chosen=account.profile, detected=account.detected_profile)
    return provider_named(PROVIDER_OF_PROFILE.get(profile.name, GENERIC_PROVIDER))
