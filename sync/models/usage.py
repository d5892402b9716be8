"""What each account costs its upstream (``UpstreamUsage``)."""

from __future__ import annotations

from django.db import models


class UpstreamUsage(models.Model):
    """Commands of one kind that one account sent on one day (UTC), and what went over the wire for them."""

    account = models.ForeignKey("mailcache.Account", on_delete=models.CASCADE, related_name="usage", db_index=False)
    day = models.DateField()
    kind = models.CharField(max_length=20, help_text='The command\'s name: "UID FETCH", "IDLE" ...')
    commands = models.BigIntegerField(default=0)
    bytes_in = models.BigIntegerField(default=0, help_text="Octets received.")
    bytes_out = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "day", "kind"], name="upstreamusage_day_unique"),
        ]
        indexes = [models.Index(fields=["day"], name="upstreamusage_day")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.account_id} on {self.day}"
