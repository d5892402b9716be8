"""``Lease``: who works on an account."""

from __future__ import annotations

from django.db import models


class LeaseKind(models.TextChoices):
    """The three kinds of work of which one at a time is done on an account."""

    SYNC = "sync", "sync"
    REPLAY = "replay", "replay"
    WATCH = "watch", "watch"


class Lease(models.Model):
    """One holder's right to work on an account until ``expires_at``; taking it over raises ``generation``."""

    account = models.ForeignKey("mailcache.Account", on_delete=models.CASCADE, related_name="leases", db_index=False)
    kind = models.CharField(max_length=10, choices=LeaseKind)
    holder = models.CharField(max_length=200)
    generation = models.BigIntegerField(default=1)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "kind"], name="lease_kind_unique"),
            models.CheckConstraint(condition=models.Q(kind__in=LeaseKind.values), name="lease_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.account_id} by {self.holder}"
