"""How far the sync of each mailbox has come (``Checkpoint``)."""

from __future__ import annotations

from datetime import datetime

from django.db import models


class CheckpointQuerySet(models.QuerySet["Checkpoint"]):
    """Named reads of checkpoints."""

    def wanted(self, now: datetime) -> CheckpointQuerySet:
        """Mailboxes that the upstream spoke of, that were not compared since, and that may be compared ``now``."""
        here = self.filter(mailbox__selectable=True, mailbox__upstream_name__isnull=False, mailbox__missed_lists=0)
        # One that was deleted here is left to replay.
        here = here.filter(mailbox__deleted_at__isnull=True)
        # What a label mailbox shows is compared in All Mail.
        here = here.filter(mailbox__label="")
        return here.filter(wanted_at__isnull=False, mailbox__sync_paused_reason="").exclude(retry_at__gt=now)


class Checkpoint(models.Model):
    """What the upstream said of a mailbox when all of it had last been compared with ours.

    The upstream's numbers advance only when a comparison has finished: in the middle of one they would claim messages
    that are not here. Within a comparison the rows of Remote and Listing are the position.
    """

    account = models.ForeignKey("mailcache.Account", on_delete=models.CASCADE, related_name="+", db_index=False)
    mailbox = models.ForeignKey("mailcache.Mailbox", on_delete=models.CASCADE, related_name="checkpoints")
    uidvalidity = models.BigIntegerField(null=True)
    uidnext = models.BigIntegerField(null=True)
    highestmodseq = models.BigIntegerField(null=True)
    exists = models.BigIntegerField(null=True)
    compared_at = models.DateTimeField(null=True, help_text="When the last finished comparison began.")
    wanted_at = models.DateTimeField(null=True, help_text="The upstream spoke of this mailbox; not compared since.")
    failures = models.PositiveIntegerField(default=0, help_text="Failed comparisons in a row.")
    reason = models.TextField(blank=True, help_text="Why the last comparison failed.")
    retry_at = models.DateTimeField(null=True, help_text="The mailbox is left alone until then.")

    older_highestmodseq = models.BigIntegerField(
        null=True, help_text="HIGHESTMODSEQ of the comparison before: where to read from if the last cannot be trusted."
    )
    flags_compared_at = models.DateTimeField(null=True, help_text="When the flags of all messages were last compared.")
    recent_flags_at = models.DateTimeField(null=True, help_text="When those of the newest messages were last compared.")
    flags_below = models.BigIntegerField(
        null=True, help_text="Where reading the flags of all messages was cut off: at this upstream UID, going down."
    )
    flags_modseq = models.BigIntegerField(
        null=True, help_text="HIGHESTMODSEQ when that reading began: since then flags above the cut may have changed."
    )
    flags_changed_at = models.DateTimeField(null=True, help_text="When a comparison of flags last found a change.")
    full_wanted = models.BooleanField(
        default=False, help_text="The next comparison trusts no number: every UID and all flags are read."
    )
    uidvalidity_changes = models.PositiveSmallIntegerField(default=0, help_text="Renumberings in a short time.")
    uidvalidity_changed_at = models.DateTimeField(null=True)
    gone_uids = models.TextField(blank=True, help_text="Upstream UIDs whose mass deletion was seen once.")
    gone_seen_at = models.DateTimeField(null=True)
    gone_confirmed = models.BooleanField(default=False, help_text="An operator said that the mass deletion is meant.")
    audited_at = models.DateTimeField(null=True, help_text="When the audit last compared checksums.")
    audit_differences = models.PositiveIntegerField(default=0, help_text="How many audits found a difference.")

    objects = CheckpointQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "mailbox"], name="checkpoint_mailbox_unique")]
        indexes = [
            models.Index(fields=["wanted_at"], name="checkpoint_wanted", condition=models.Q(wanted_at__isnull=False)),
            models.Index(fields=["account"], name="checkpoint_differed", condition=models.Q(audit_differences__gt=0)),
        ]

    def __str__(self) -> str:
        return f"checkpoint of {self.mailbox_id}"
