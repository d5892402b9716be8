"""``ReplayLatency``: how long the local changes of an account took to get upstream."""

from __future__ import annotations

from django.db import models

LATENCY_BOUNDS = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 604_800.0)
"""Upper bounds of the buckets in seconds; what is above the last one has a bucket of its own."""


class ReplayLatency(models.Model):
    """Changes of one account that took so long from their commit here until they had settled, counted for ever."""

    account = models.ForeignKey("mailcache.Account", on_delete=models.CASCADE, related_name="+", db_index=False)
    bucket = models.SmallIntegerField(help_text="Place in LATENCY_BOUNDS.")
    changes = models.BigIntegerField()
    seconds = models.FloatField(help_text="All their latencies together.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "bucket"], name="replaylatency_bucket_unique")]

    def __str__(self) -> str:
        return f"bucket {self.bucket} of {self.account_id}"
