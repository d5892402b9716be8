"""``Mailbox``: our name, UID space and counters, and what the upstream calls it."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class MailboxRole(models.TextChoices):
    """SPECIAL-USE roles (RFC 6154), and INBOX."""

    NONE = "", "-"
    INBOX = "inbox", "INBOX"
    ALL = "all", "\\All"
    ARCHIVE = "archive", "\\Archive"
    DRAFTS = "drafts", "\\Drafts"
    FLAGGED = "flagged", "\\Flagged"
    JUNK = "junk", "\\Junk"
    SENT = "sent", "\\Sent"
    TRASH = "trash", "\\Trash"


class MailboxQuerySet(models.QuerySet["Mailbox"]):
    """Named reads of mailboxes."""

    def mirrored(self, account_id: int) -> MailboxQuerySet:
        """The account's mailboxes that exist upstream and here."""
        return self.present(account_id).filter(upstream_name__isnull=False)

    def present(self, account_id: int) -> MailboxQuerySet:
        """The account's mailboxes that exist here."""
        return self.filter(account_id=account_id, deleted_at__isnull=True)


class Mailbox(models.Model):
    """A mailbox as clients see it, mapped to one upstream.

    ``uidvalidity``, ``uidnext`` and all UIDs are ours and independent of the upstream's. Counters change in the same
    transaction as the messages they count.
    """

    account = models.ForeignKey("mailcache.Account", on_delete=models.CASCADE, related_name="mailboxes", db_index=False)
    name = models.CharField(max_length=1000, help_text='Our name: Unicode, "/" between levels.')
    selectable = models.BooleanField(default=True)
    subscribed = models.BooleanField(default=True)
    role = models.CharField(max_length=10, choices=MailboxRole, default=MailboxRole.NONE, blank=True)

    uidvalidity = models.BigIntegerField(editable=False)
    uidnext = models.BigIntegerField(default=1, editable=False)
    highestmodseq = models.BigIntegerField(default=1, editable=False)
    journal_floor = models.BigIntegerField(default=1, editable=False)
    recent_uid = models.BigIntegerField(
        default=1, editable=False, help_text="The first UID that no session was told of as \\Recent."
    )
    messages = models.BigIntegerField(default=0, editable=False)
    unseen = models.BigIntegerField(default=0, editable=False)
    deleted = models.BigIntegerField(default=0, editable=False)
    bytes = models.BigIntegerField(default=0, editable=False)

    upstream_name = models.BinaryField(
        null=True, editable=False, help_text="The name as the upstream spells it on the wire."
    )
    upstream_delimiter = models.CharField(max_length=1, blank=True, editable=False)
    upstream_uidvalidity = models.BigIntegerField(null=True, editable=False)
    upstream_mailbox_id = models.CharField(max_length=255, blank=True, editable=False)
    label = models.TextField(
        blank=True,
        editable=False,
        help_text="The X-GM-LABELS label whose messages this mailbox shows; they live in another mailbox upstream.",
    )
    personal = models.BooleanField(
        default=True, editable=False, help_text="Not in the namespace of another user, nor in a shared one (RFC 2342)."
    )
    missed_lists = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text="Complete LIST answers in a row that did not name this mailbox."
    )
    missed_since = models.DateTimeField(null=True, editable=False, help_text="When the first of them came.")
    deleted_at = models.DateTimeField(
        null=True, editable=False, help_text="Deleted by a client; the row stays until the upstream has deleted it too."
    )
    sync_paused_reason = models.TextField(blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = MailboxQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "mailboxes"
        constraints = [
            models.UniqueConstraint(
                fields=["account", "name"], name="mailbox_name_unique", condition=models.Q(deleted_at__isnull=True)
            ),
            models.UniqueConstraint(fields=["account", "upstream_name"], name="mailbox_upstream_name_unique"),
            models.CheckConstraint(condition=models.Q(uidvalidity__range=(1, 2**32 - 1)), name="mailbox_uidvalidity"),
            models.CheckConstraint(condition=models.Q(uidnext__range=(1, 2**32 - 1)), name="mailbox_uidnext"),
            models.CheckConstraint(
                condition=models.Q(messages__gte=0, unseen__gte=0, deleted__gte=0, bytes__gte=0),
                name="mailbox_counters_positive",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def object_id(self) -> str:
        """The MAILBOXID (RFC 8474) of this mailbox: the same under every name."""
        return f"m{self.pk}"
