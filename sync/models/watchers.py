"""The watchers that run (``WatcherProcess``)."""

from __future__ import annotations

from django.db import models


class WatcherProcess(models.Model):
    """One process that watches accounts, and when it last gave a sign of life. The others count it."""

    holder = models.CharField(max_length=200, unique=True)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.holder
