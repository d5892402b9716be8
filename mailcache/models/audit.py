"""``AuditEvent``: who did what, from where."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone


class AuditEvent(models.Model):
    """One security-relevant act. Kept when the user or the account it tells of is gone."""

    at = models.DateTimeField(default=timezone.now)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    account = models.ForeignKey("mailcache.Account", on_delete=models.SET_NULL, null=True, related_name="+")
    actor = models.CharField(max_length=254, help_text="Name as given, kept when the user is gone.")
    action = models.CharField(max_length=50)
    address = models.GenericIPAddressField(null=True)
    detail = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["-at"], name="audit_newest_first")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor} {self.action}"
