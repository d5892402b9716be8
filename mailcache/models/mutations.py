"""``Mutation``: a local change that is still to be replayed upstream."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone


class MutationKind(models.TextChoices):
    """What is to be done upstream."""

    STORE = "store", "change flags"


class MutationState(models.TextChoices):
    """Where the mutation stands."""

    PENDING = "pending", "waiting"
    SENT = "sent", "sent, outcome not yet known"
    SETTLED = "settled", "done upstream, not yet read back"
    PARKED = "parked", "parked"


# Mutations that a read of the upstream does not contain yet: sync lays them over what it reads.
OVERLAY_STATES = (MutationState.PENDING, MutationState.SENT, MutationState.SETTLED, MutationState.PARKED)


class Mutation(models.Model):
    """One local change in the order in which it was made (``id``).

    For STORE the wanted end is a delta of flags (``add_*``, ``remove_*``) of one message.
    """

    account = models.ForeignKey("mailcache.Account", on_delete=models.CASCADE, related_name="+", db_index=False)
    mailbox = models.ForeignKey(
        "mailcache.Mailbox", on_delete=models.CASCADE, related_name="+", null=True, db_index=False
    )
    message = models.ForeignKey("mailcache.Message", on_delete=models.CASCADE, null=True, related_name="mutations")
    kind = models.CharField(max_length=20, choices=MutationKind)
    add_flags = models.SmallIntegerField(default=0)
    remove_flags = models.SmallIntegerField(default=0)
    add_keywords = ArrayField(models.TextField(), default=list, blank=True)
    remove_keywords = ArrayField(models.TextField(), default=list, blank=True)
    arguments = models.JSONField(default=dict, blank=True)
    depends_on = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    state = models.CharField(max_length=10, choices=MutationState, default=MutationState.PENDING)
    settlement = models.BigIntegerField(
        null=True, help_text="The account's count of settlements when this one settled."
    )
    noted = models.JSONField(default=dict, blank=True, help_text="What was noted upstream before it was sent.")
    attempts = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(default=timezone.now)
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(kind__in=MutationKind.values), name="mutation_kind"),
            models.CheckConstraint(condition=models.Q(state__in=MutationState.values), name="mutation_state"),
            models.CheckConstraint(
                condition=~models.Q(kind=MutationKind.STORE) | models.Q(message__isnull=False, mailbox__isnull=False),
                name="mutation_store_names_a_message",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "mailbox"], name="mutation_mailbox"),
            models.Index(
                fields=["account", "next_try_at"],
                name="mutation_due",
                condition=models.Q(state__in=[MutationState.PENDING, MutationState.SENT]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk} ({self.state})"
