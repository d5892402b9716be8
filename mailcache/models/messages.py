"""``Message`` (what clients see), ``Remote`` (where it lives upstream), ``Listing`` (known before its bytes)."""

from __future__ import annotations

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Coalesce, Now, NullIf

from mailcache.identity import Traits
from mailcache.models.leases import Lease, LeaseKind


class Message(models.Model):
    """A message in one mailbox, under our UID.

    ``flags``, ``keywords`` and ``modseq`` are in no index, so that a change of flags stays a heap-only update.
    """

    account = models.ForeignKey("mailcache.Account", on_delete=models.CASCADE, related_name="+", db_index=False)
    mailbox = models.ForeignKey("mailcache.Mailbox", on_delete=models.CASCADE, related_name="+", db_index=False)
    uid = models.BigIntegerField()
    flags = models.SmallIntegerField(default=0, help_text="Bit mask: mailcache.flags.SystemFlag.")
    keywords = ArrayField(models.TextField(), default=list, blank=True)
    modseq = models.BigIntegerField()
    internal_date = models.DateTimeField()
    internal_zone = models.SmallIntegerField(default=0, help_text="Minutes east of UTC in which the date is shown.")
    saved_date = models.DateTimeField(db_default=Now())
    size = models.BigIntegerField(help_text="RFC822.SIZE in octets.")
    emailid = models.CharField(
        max_length=64, blank=True, help_text="Given when the message appears, kept when it moves: mailcache.identity."
    )
    threadid = models.CharField(max_length=64, blank=True)
    content = models.ForeignKey("mailcache.Content", on_delete=models.PROTECT, null=True, related_name="messages")
    remote = models.ForeignKey("mailcache.Remote", on_delete=models.SET_NULL, null=True, related_name="messages")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "mailbox", "uid"], name="message_uid_unique"),
            models.CheckConstraint(condition=models.Q(uid__range=(1, 2**32 - 1)), name="message_uid_range"),
            models.CheckConstraint(condition=models.Q(flags__range=(0, 31)), name="message_flags_range"),
            models.CheckConstraint(condition=models.Q(size__gte=0), name="message_size_positive"),
            models.CheckConstraint(
                condition=models.Q(content__isnull=False) | models.Q(remote__isnull=False),
                name="message_has_content_or_remote",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.mailbox_id}:{self.uid}"


class RemoteQuerySet(models.QuerySet["Remote"]):
    """Named reads of what is known of the upstream."""

    def numbered(self, account_id: int, mailbox_id: int, uidvalidity: int) -> RemoteQuerySet:
        """What is known of a mailbox under one UIDVALIDITY."""
        return self.filter(account_id=account_id, mailbox_id=mailbox_id, uidvalidity=uidvalidity)

    def traits(self) -> dict[int, Traits]:
        """What their messages are known by, by upstream UID."""
        rows = self.filter(messages__mailbox_id=models.F("mailbox_id")).values_list(
            "uid",
            Coalesce("messages__content__upstream_size", "messages__size"),
            "messages__internal_date",
            "upstream_id",
            Coalesce(
                "messages__content__message_id",
                NullIf("listings__message_id", models.Value("", output_field=models.TextField())),
            ),
        )
        return {uid: Traits(*values) for uid, *values in rows}


class Remote(models.Model):
    """Where a message lives upstream, and the flags last agreed with the upstream: the base of every merge."""

    account = models.ForeignKey("mailcache.Account", on_delete=models.CASCADE, related_name="+", db_index=False)
    mailbox = models.ForeignKey("mailcache.Mailbox", on_delete=models.CASCADE, related_name="+", db_index=False)
    uidvalidity = models.BigIntegerField()
    uid = models.BigIntegerField()
    upstream_id = models.CharField(max_length=64, blank=True, help_text="EMAILID or X-GM-MSGID.")
    labels = ArrayField(models.TextField(), default=list, blank=True)
    flags = models.SmallIntegerField(default=0)
    keywords = ArrayField(models.TextField(), default=list, blank=True)

    objects = RemoteQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "mailbox", "uidvalidity", "uid"], name="remote_uid_unique"),
            models.CheckConstraint(condition=models.Q(uid__range=(1, 2**32 - 1)), name="remote_uid_range"),
        ]

    def __str__(self) -> str:
        return f"{self.mailbox_id}:{self.uidvalidity}:{self.uid}"


class ListingQuerySet(models.QuerySet["Listing"]):
    """Named reads of the work list."""

    def fetchable(self, account_id: int, now: datetime) -> ListingQuerySet:
        """Messages whose bytes are still upstream only, without those set aside until later than ``now``."""
        return self.upstream(account_id).exclude(retry_at__gt=now)

    def put_off(self, account_id: int, *, since: datetime) -> ListingQuerySet:
        """Messages whose bytes are still upstream only, set aside until later than ``since``."""
        return self.upstream(account_id).filter(retry_at__gt=since)

    def upstream(self, account_id: int) -> ListingQuerySet:
        """Messages whose bytes are still upstream only.

        Not those of an earlier UIDVALIDITY: under the present one their UIDs are other messages'.
        """
        return self.filter(account_id=account_id, remote__uidvalidity=models.F("mailbox__upstream_uidvalidity"))

    def parked(self, account_id: int) -> ListingQuerySet:
        """Messages of an account that were set aside because their bytes could not be fetched."""
        return self.filter(account_id=account_id).exclude(parked_reason="")

    def wanted(self) -> ListingQuerySet:
        """Those that a client waits for."""
        return self.filter(wanted_at__isnull=False)

    def left_to_sync(self) -> ListingQuerySet:
        """All but those that a client waits for and that the holder of the account's WATCH lease answers for."""
        answered = Lease.objects.filter(
            account_id=models.OuterRef("account_id"), kind=LeaseKind.WATCH, expires_at__gt=Now()
        )
        return self.exclude(models.Exists(answered), wanted_at__isnull=False)

    def wanted_or_younger(self, since: datetime) -> ListingQuerySet:
        """Those that a client waits for, and those whose internal date is not before ``since``."""
        young = Message.objects.filter(
            account_id=models.OuterRef("account_id"), remote_id=models.OuterRef("remote_id"), internal_date__gte=since
        )
        return self.filter(models.Q(wanted_at__isnull=False) | models.Exists(young))

    def shown_in(self, mailbox_id: int) -> ListingQuerySet:
        """Those whose message a label mailbox shows."""
        return self.filter(remote__messages__mailbox_id=mailbox_id)

    def newest_first(self, mailbox_id: int) -> ListingQuerySet:
        """Those of one mailbox, newest first."""
        return self.filter(mailbox_id=mailbox_id).order_by("-uid")


class Listing(models.Model):
    """What is known of a Remote before its bytes are here, and how fetching them is going.

    The rows of this table are the bodies still to be fetched; a row goes when its Content exists. A message that was
    recognised as a copy of one that is still there has both for a while: its bytes are fetched to be compared.
    """

    account = models.ForeignKey("mailcache.Account", on_delete=models.CASCADE, related_name="+", db_index=False)
    mailbox = models.ForeignKey("mailcache.Mailbox", on_delete=models.CASCADE, related_name="+", db_index=False)
    remote = models.ForeignKey(Remote, on_delete=models.CASCADE, related_name="listings")
    uid = models.BigIntegerField(help_text="The upstream UID, repeated here to order the work.")
    size = models.BigIntegerField(help_text="RFC822.SIZE as the upstream said it.")
    message_id = models.TextField(db_default="", help_text="As far as known before the bytes are here.")
    header = models.BinaryField(null=True)
    envelope = models.BinaryField(null=True)
    envelope_utf8 = models.BinaryField(null=True)
    listing_headers = models.BinaryField(null=True)
    upstream_structure = models.BinaryField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    parked_reason = models.TextField(blank=True)
    retry_at = models.DateTimeField(null=True)
    wanted_at = models.DateTimeField(null=True, help_text="A client waits for these bytes since then.")

    objects = ListingQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "remote"], name="listing_remote_unique")]
        indexes = [
            models.Index(fields=["account", "mailbox", "-uid"], name="listing_newest_first"),
            models.Index(
                fields=["account", "mailbox", "-uid"], name="listing_no_header", condition=models.Q(header__isnull=True)
            ),
            models.Index(
                fields=["account", "mailbox", "-uid"],
                name="listing_parked",
                condition=~models.Q(parked_reason=""),
            ),
            models.Index(fields=["wanted_at"], name="listing_wanted", condition=models.Q(wanted_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"listing of {self.remote_id}"
