"""``OAuthGrant``: an upstream's permission to log in with tokens (RFC 6749)."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class OAuthGrant(models.Model):
    """The tokens of one account, sealed as its password would be."""

    account = models.OneToOneField("mailcache.Account", on_delete=models.CASCADE, related_name="oauth_grant")
    provider = models.CharField(max_length=20)
    sealed_refresh_token = models.BinaryField(editable=False)
    sealed_access_token = models.BinaryField(null=True, editable=False)
    access_expires_at = models.DateTimeField(null=True, editable=False)
    refreshing_until = models.DateTimeField(
        null=True, editable=False, help_text="Somebody is refreshing the access token; nobody else does until then."
    )
    granted_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return f"{self.provider} grant of {self.account_id}"
