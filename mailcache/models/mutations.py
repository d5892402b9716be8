"""``Mutation``: a local change that is still to be replayed upstream."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone


class MutationKind(models.TextChoices):
    """What is to be done upstream."""

    STORE = "store", "change flags"
    APPEND = "append", "append"
    COPY = "copy", "copy"
    MOVE = "move", "move"
    EXPUNGE = "expunge", "expunge"
    LABEL = "label", "add label"
    UNLABEL = "unlabel", "remove label"
    CREATE = "create", "create mailbox"
    DELETE = "delete", "delete mailbox"
    RENAME = "rename", "rename mailbox"
    SUBSCRIBE = "subscribe", "subscribe"
    UNSUBSCRIBE = "unsubscribe", "unsubscribe"


TRANSFERS = (MutationKind.COPY, MutationKind.MOVE)
"""Kinds that make a message of another one."""

CREATORS = (MutationKind.APPEND, *TRANSFERS)
"""Kinds that make a message appear in a mailbox: its upstream UID is known when they have settled."""

LABEL_KINDS = (MutationKind.LABEL, MutationKind.UNLABEL)
"""Kinds that change which label mailboxes (Gmail) show a message of All Mail: ``target`` is that mailbox."""

MAILBOX_KINDS = (
    MutationKind.CREATE,
    MutationKind.DELETE,
    MutationKind.RENAME,
    MutationKind.SUBSCRIBE,
    MutationKind.UNSUBSCRIBE,
)
"""Kinds that concern names instead of messages."""


class MutationState(models.TextChoices):
    """Where the mutation stands."""

    PENDING = "pending", "waiting"
    SENT = "sent", "sent, outcome not yet known"
    SETTLED = "settled", "done upstream, not yet read back"
    PARKED = "parked", "parked"


class ParkedCause(models.TextChoices):
    """Why a mutation was set aside, in few enough words to count them by."""

    NONE = "", "-"
    REFUSED = "refused", "the upstream refuses it for good"
    EXHAUSTED = "exhausted", "it failed too often"
    READ_ONLY = "read_only", "the mailbox is read-only there"
    OTHER_MESSAGE = "other_message", "another message than the one meant is there"
    UNCERTAIN = "uncertain", "whether it arrived cannot be told"


UNSETTLED_STATES = (MutationState.PENDING, MutationState.SENT, MutationState.PARKED)


class MutationQuerySet(models.QuerySet["Mutation"]):
    """Named reads of the queue."""

    def unsettled(self, account_id: int) -> MutationQuerySet:
        """What the upstream does not have yet, in the order in which it was done here."""
        return self.filter(account_id=account_id, state__in=UNSETTLED_STATES).order_by("pk")

    def replayable(self, account_id: int) -> MutationQuerySet:
        """What a replay may work on, in order; parked ones stay where they are."""
        return self.filter(account_id=account_id, state__in=(MutationState.PENDING, MutationState.SENT)).order_by("pk")


class Mutation(models.Model):
    """One local change, in the order in which it was made (``id``).

    STORE is a delta of flags (``add_*``, ``remove_*``) of one message; all others state a wanted end. What a mutation
    acts on upstream is ``remote``; where that is not known yet, ``depends_on`` is the mutation that will tell it.
    """

    account = models.ForeignKey("mailcache.Account", on_delete=models.CASCADE, related_name="+", db_index=False)
    mailbox = models.ForeignKey(
        "mailcache.Mailbox",
        on_delete=models.CASCADE,
        related_name="+",
        null=True,
        db_index=False,
        help_text="Where it happens: the source of COPY and MOVE, the target of APPEND, else the mailbox itself.",
    )
    target = models.ForeignKey(
        "mailcache.Mailbox",
        on_delete=models.CASCADE,
        related_name="+",
        null=True,
        db_index=False,
        help_text="Where the message appears: of APPEND, COPY and MOVE; of LABEL and UNLABEL the label's mailbox.",
    )
    message = models.ForeignKey(
        "mailcache.Message",
        on_delete=models.SET_NULL,
        null=True,
        related_name="mutations",
        help_text="The message whose flags change, or that has appeared here; null when it is gone again.",
    )
    remote = models.ForeignKey(
        "mailcache.Remote",
        on_delete=models.SET_NULL,
        null=True,
        related_name="mutations",
        help_text="The upstream message that is changed, copied, moved or expunged.",
    )
    content = models.ForeignKey(
        "mailcache.Content", on_delete=models.PROTECT, null=True, related_name="+", help_text="What APPEND appends."
    )
    kind = models.CharField(max_length=20, choices=MutationKind)
    # What STORE sets, and with what APPEND, COPY and MOVE make their message.
    add_flags = models.SmallIntegerField(default=0)
    remove_flags = models.SmallIntegerField(default=0)
    add_keywords = ArrayField(models.TextField(), default=list, blank=True)
    remove_keywords = ArrayField(models.TextField(), default=list, blank=True)
    arguments = models.JSONField(default=dict, blank=True)
    depends_on = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="dependents")
    state = models.CharField(max_length=10, choices=MutationState, default=MutationState.PENDING)
    settlement = models.BigIntegerField(
        null=True, help_text="The account's count of settlements when this one settled."
    )
    noted = models.JSONField(default=dict, blank=True, help_text="What was noted upstream before it was sent.")
    attempts = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(default=timezone.now)
    last_error = models.TextField(blank=True)
    parked_cause = models.CharField(
        max_length=20, choices=ParkedCause, default=ParkedCause.NONE, db_default="", blank=True
    )
    over_quota = models.BooleanField(
        default=False, db_default=False, help_text="The upstream has no room for it: tried again, in case it has."
    )
    created_at = models.DateTimeField(default=timezone.now)

    objects = MutationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(kind__in=MutationKind.values), name="mutation_kind"),
            models.CheckConstraint(condition=models.Q(state__in=MutationState.values), name="mutation_state"),
            models.CheckConstraint(
                condition=models.Q(mailbox__isnull=False) | models.Q(kind__in=[kind.value for kind in MAILBOX_KINDS]),
                name="mutation_names_a_mailbox",
            ),
            models.CheckConstraint(
                condition=~models.Q(kind=MutationKind.APPEND) | models.Q(content__isnull=False),
                name="mutation_append_has_content",
            ),
            models.CheckConstraint(
                condition=~models.Q(kind__in=[kind.value for kind in CREATORS]) | models.Q(target__isnull=False),
                name="mutation_creator_has_target",
            ),
            models.CheckConstraint(
                condition=~models.Q(kind__in=[kind.value for kind in LABEL_KINDS]) | models.Q(target__isnull=False),
                name="mutation_label_has_mailbox",
            ),
        ]
        indexes = [
            models.Index(
                fields=["account"],
                name="mutation_over_quota",
                condition=models.Q(over_quota=True, state=MutationState.PENDING),
            ),
            models.Index(fields=["account", "mailbox"], name="mutation_mailbox"),
            models.Index(fields=["account", "target"], name="mutation_target"),
            models.Index(
                fields=["account", "next_try_at"],
                name="mutation_due",
                condition=models.Q(state__in=[MutationState.PENDING, MutationState.SENT]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk} ({self.state})"
