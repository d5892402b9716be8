"""``SealingKey``: which derived key a sealed secret was sealed with."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class SealingKey(models.Model):
    """A salt from which the master key derives one sealing key; its ``id`` stands beside each ciphertext.

    The key itself is never stored. ``check_value`` tells whether the configured master key is the one that it was made
    from. The newest row seals; older ones open what was sealed before the last rotation.
    """

    salt = models.BinaryField()
    check_value = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"sealing key {self.pk}"
