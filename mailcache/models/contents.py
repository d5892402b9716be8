"""``Content`` (immutable facts of one message's bytes) and ``Segment`` (the stored objects that hold the bytes)."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone


class SegmentState(models.TextChoices):
    """Life of a stored object."""

    LIVE = "live", "live"
    DEAD = "dead", "waiting for its grace to end"


class Segment(models.Model):
    """One immutable stored object with the bytes (wire CRLF) of one or many messages of one account."""

    account = models.ForeignKey("mailcache.Account", on_delete=models.CASCADE, related_name="+", db_index=False)
    name = models.CharField(max_length=200, help_text="Name in the object store.")
    size = models.BigIntegerField()
    dead_bytes = models.BigIntegerField(default=0)
    state = models.CharField(max_length=10, choices=SegmentState, default=SegmentState.LIVE)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "name"], name="segment_name_unique"),
            models.CheckConstraint(
                condition=models.Q(dead_bytes__gte=0) & models.Q(dead_bytes__lte=models.F("size")),
                name="segment_dead_bytes_range",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Content(models.Model):
    """Everything that is served of a message's bytes without parsing them again.

    Unique per account by SHA-256. ``rendering_version`` tells which renderer wrote the ready-to-send columns.
    """

    account = models.ForeignKey("mailcache.Account", on_delete=models.CASCADE, related_name="+", db_index=False)
    sha256 = models.BinaryField()
    size = models.BigIntegerField()
    segment = models.ForeignKey(Segment, on_delete=models.PROTECT, null=True, related_name="contents")
    offset = models.BigIntegerField(default=0, help_text="Where the message begins in its segment.")
    inline = models.BinaryField(null=True, help_text="The bytes themselves, until they are packed into a segment.")

    rendering_version = models.PositiveSmallIntegerField()
    header_size = models.BigIntegerField()
    envelope = models.BinaryField()
    envelope_utf8 = models.BinaryField(null=True, help_text="Null where it equals the ASCII rendering.")
    body = models.BinaryField()
    body_utf8 = models.BinaryField(null=True)
    bodystructure = models.BinaryField()
    bodystructure_utf8 = models.BinaryField(null=True)
    sections = models.BinaryField(help_text="Packed part offsets: mailcache.mime.sections.SectionTable.")
    listing_headers = models.BinaryField(null=True, help_text="Null where the header has too many of them.")

    message_id = models.TextField(blank=True)
    in_reply_to = models.TextField(blank=True)
    references = ArrayField(models.TextField(), default=list)
    subject = models.TextField(blank=True)
    base_subject = models.TextField(blank=True)
    sort_from = models.TextField(blank=True)
    sort_to = models.TextField(blank=True)
    sort_cc = models.TextField(blank=True)
    sent_at = models.DateTimeField(null=True)
    preview = models.TextField(blank=True)
    has_attachment = models.BooleanField(default=False)
    defects = ArrayField(models.TextField(), default=list)
    created_at = models.DateTimeField(default=timezone.now)

    # Of the message that had these bytes last. They outlive it, so that it is known again in another mailbox.
    emailid = models.CharField(max_length=64, db_default="", editable=False)
    internal_date = models.DateTimeField(null=True, editable=False)
    upstream_size = models.BigIntegerField(
        null=True, editable=False, help_text="RFC822.SIZE as the upstream says it, where that is not the size."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "sha256"], name="content_sha256_unique"),
            models.CheckConstraint(
                condition=models.Q(segment__isnull=False, inline__isnull=True)
                | models.Q(segment__isnull=True, inline__isnull=False),
                name="content_bytes_in_one_place",
            ),
            models.CheckConstraint(
                condition=models.Q(size__gte=0, offset__gte=0, header_size__gte=0), name="content_sizes_positive"
            ),
        ]
        indexes = [
            models.Index(
                fields=["account", "message_id"], name="content_message_id", condition=~models.Q(message_id="")
            ),
            models.Index(fields=["account", "emailid"], name="content_emailid", condition=~models.Q(emailid="")),
            models.Index(
                fields=["account", "internal_date"], name="content_without_id", condition=models.Q(message_id="")
            ),
        ]

    def __str__(self) -> str:
        return bytes(self.sha256).hex()
