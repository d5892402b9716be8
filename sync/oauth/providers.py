"""Authorization servers as data. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Provider:
    """One authorization server, and imapped's registration with it."""

    name: str
    title: str
    client_id: str
    client_secret: str = field(repr=False)
    """Empty for a public client."""
    authorization_url: str
    token_url: str
    device_url: str
    """Empty where device codes are not offered for mail."""
    scopes: tuple[str, ...]
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further parameters of the consent page's address."""


def google(*, client_id: str, client_secret: str) -> Provider:
    """Return Google. It offers device codes, but not for mail."""
    return Provider(
        name="google",
        title="Google",
        client_id=client_id,
        client_secret=client_secret,
        authorization_url="https://accounts.google.com/o/oauth2/v2/auth",
        token_url="https://oauth2.googleapis.com/token",  # noqa: S106 - an address
        device_url="",
        scopes=("https://mail.google.com/",),
        # Without these no refresh token comes with a second consent.
        extra={"access_type": "offline", "prompt": "consent"},
    )


def microsoft(*, client_id: str, client_secret: str, tenant: str) -> Provider:
    """Return Microsoft's identity platform for one tenant, or ``common``."""
    base = f"https://login.microsoftonline.com/{tenant}/oauth2/v2.0"
    return Provider(
        name="microsoft",
        title="Microsoft",
        client_id=client_id,
        client_secret=client_secret,
        authorization_url=f"{base}/authorize",
        token_url=f"{base}/token",
        device_url=f"{base}/devicecode",
        scopes=("https://outlook.office.com/IMAP.AccessAsUser.All", "offline_access"),
    )


# Whose tokens a provider profile's servers take; all others are asked for at the generic provider.
PROVIDER_OF_PROFILE = {"gmail": "google", "office365": "microsoft"}
GENERIC_PROVIDER = "generic"
