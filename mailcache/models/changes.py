"""``Change``: the journal."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Change(models.Model):
    """What one transaction did to one mailbox, at one modseq. UIDs are kept in sequence-set form (``1:5,9``)."""

    account = models.ForeignKey("mailcache.Account", on_delete=models.CASCADE, related_name="+", db_index=False)
    mailbox = models.ForeignKey("mailcache.Mailbox", on_delete=models.CASCADE, related_name="+", db_index=False)
    modseq = models.BigIntegerField()
    appeared = models.TextField(blank=True)
    changed = models.TextField(blank=True)
    expunged = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "mailbox", "modseq"], name="change_modseq_unique"),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="change_created_at"),
        ]

    def __str__(self) -> str:
        return f"{self.mailbox_id}@{self.modseq}"
