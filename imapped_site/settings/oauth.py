"""Where imapped is registered as an OAuth 2.0 client, for upstreams that want tokens instead of passwords."""

from __future__ import annotations

from imapped_site.settings.current import read
from sync.oauth.providers import GENERIC_PROVIDER, Provider, google, microsoft

__all__ = ["OAUTH_PROVIDERS"]

OAUTH_PROVIDERS: dict[str, Provider] = {}

_google = {
    "OAUTH_GOOGLE_CLIENT_ID": read.text("OAUTH_GOOGLE_CLIENT_ID"),
    "OAUTH_GOOGLE_CLIENT_SECRET": read.secret("OAUTH_GOOGLE_CLIENT_SECRET"),
}
if read.all_or_none(_google, group="Google sign-in"):
    OAUTH_PROVIDERS["google"] = google(
        client_id=_google["OAUTH_GOOGLE_CLIENT_ID"], client_secret=_google["OAUTH_GOOGLE_CLIENT_SECRET"]
    )

_microsoft_id = read.text("OAUTH_MICROSOFT_CLIENT_ID")
# Without a secret the registration is a public client.
_microsoft_secret = read.secret("OAUTH_MICROSOFT_CLIENT_SECRET")
_microsoft_tenant = read.text("OAUTH_MICROSOFT_TENANT", "common")
if _microsoft_id:
    OAUTH_PROVIDERS["microsoft"] = microsoft(
        client_id=_microsoft_id, client_secret=_microsoft_secret, tenant=_microsoft_tenant
    )
elif _microsoft_secret:
    read.fault("OAUTH_MICROSOFT_CLIENT_ID", "missing: OAUTH_MICROSOFT_CLIENT_SECRET is set")

_HTTP = ("https", "http")
_generic = {
    "OAUTH_GENERIC_CLIENT_ID": read.text("OAUTH_GENERIC_CLIENT_ID"),
    "OAUTH_GENERIC_AUTHORIZATION_URL": read.url("OAUTH_GENERIC_AUTHORIZATION_URL", "", schemes=_HTTP),
    "OAUTH_GENERIC_TOKEN_URL": read.url("OAUTH_GENERIC_TOKEN_URL", "", schemes=_HTTP),
    "OAUTH_GENERIC_SCOPES": read.text("OAUTH_GENERIC_SCOPES"),
}
_generic_secret = read.secret("OAUTH_GENERIC_CLIENT_SECRET")
_generic_device_url = read.url("OAUTH_GENERIC_DEVICE_URL", "", schemes=_HTTP)
if read.all_or_none(_generic, group="sign-in with another provider"):
    OAUTH_PROVIDERS[GENERIC_PROVIDER] = Provider(
        name=GENERIC_PROVIDER,
        title="the provider",
        client_id=_generic["OAUTH_GENERIC_CLIENT_ID"],
        client_secret=_generic_secret,
        authorization_url=_generic["OAUTH_GENERIC_AUTHORIZATION_URL"],
        token_url=_generic["OAUTH_GENERIC_TOKEN_URL"],
        device_url=_generic_device_url,
        scopes=tuple(_generic["OAUTH_GENERIC_SCOPES"].split()),
    )
elif _generic_secret or _generic_device_url:
    read.fault("OAUTH_GENERIC_CLIENT_ID", "missing: other OAUTH_GENERIC_ settings are set")
