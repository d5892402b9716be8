"""Connections to upstreams, counted across the whole fleet (``ConnectionSlot``, ``UpstreamHost``)."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class Purpose(models.TextChoices):
    """What a connection is for."""

    WATCH = "watch", "watching"
    SYNC = "sync", "listing and metadata"
    BODIES = "bodies", "bodies"
    REPLAY = "replay", "replay"


class UpstreamHost(models.Model):
    """One upstream server, as accounts name it. Its row is the lock under which connections to it are counted."""

    name = models.CharField(max_length=253, unique=True)
    connection_limit = models.PositiveIntegerField(
        null=True, blank=True, help_text="Connections of all accounts together. Empty: as its provider profile says."
    )
    slow_until = models.DateTimeField(
        null=True, editable=False, help_text="It kept workers waiting: its accounts are synced in the slow lane until."
    )

    def __str__(self) -> str:
        return self.name


class ConnectionSlot(models.Model):
    """The right to one connection until ``expires_at``; its holder renews it, a crash lets it lapse."""

    account = models.ForeignKey("mailcache.Account", on_delete=models.CASCADE, related_name="+", db_index=False)
    host = models.CharField(max_length=253)
    purpose = models.CharField(max_length=10, choices=Purpose)
    holder = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(purpose__in=Purpose.values), name="connectionslot_purpose")
        ]
        indexes = [
            models.Index(fields=["account"], name="connectionslot_account"),
            models.Index(fields=["host"], name="connectionslot_host"),
            models.Index(fields=["holder"], name="connectionslot_holder"),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} of {self.account_id} at {self.host}"
