"""Each run of an account's sync (``SyncRun``)."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.utils import timezone

# A run is dead when it gave no sign of life for this long, whatever its row says (field note 34).
STALE_AFTER = timedelta(minutes=5)


class SyncKind(models.TextChoices):
    """What a run compares with the upstream."""

    FULL = "full", "all mailboxes"
    CHANGED = "changed", "mailboxes that the upstream spoke of"


class SyncOutcome(models.TextChoices):
    """How a run ended."""

    RUNNING = "running", "running"
    INTERRUPTED = "interrupted", "interrupted: its worker was stopped, the next one goes on"
    COMPLETED = "completed", "in step"
    PARTLY = "partly", "in step except for some mailboxes"
    FAILED = "failed", "failed"
    STOPPED = "stopped", "stopped: paused, or the account changed"
    ABANDONED = "abandoned", "its worker vanished"


class FailureCause(models.TextChoices):
    """What made a run fail, in few enough words to count them by."""

    NONE = "", "-"
    NETWORK = "network", "network: no connection, or it broke"
    TIMEOUT = "timeout", "no answer in time"
    TLS = "tls", "TLS, or the certificate"
    REFUSED = "refused", "the upstream wants no connection now"
    AUTH = "auth", "credentials refused"
    COMMAND = "command", "the upstream refused a command"
    PROTOCOL = "protocol", "the upstream's answers make no sense"
    INCOMPLETE = "incomplete", "the upstream leaves out what must be there"
    SECRET = "secret", "the stored credentials cannot be opened"
    INTERNAL = "internal", "a fault of imapped"


class SyncRunQuerySet(models.QuerySet["SyncRun"]):
    """Named reads of runs."""

    def open(self) -> SyncRunQuerySet:
        """Runs that have not ended, by their own account."""
        return self.filter(finished_at__isnull=True)

    def stale(self, now: datetime) -> SyncRunQuerySet:
        """Runs that claim to run and have given no sign of life for ``STALE_AFTER``."""
        return self.open().filter(heartbeat_at__lt=now - STALE_AFTER)


class SyncRun(models.Model):
    """One run: everything from "due" to "in step", in as many slices as that takes. Counters are live."""

    account = models.ForeignKey("mailcache.Account", on_delete=models.CASCADE, related_name="sync_runs", db_index=False)
    kind = models.CharField(max_length=10, choices=SyncKind)
    outcome = models.CharField(max_length=15, choices=SyncOutcome, default=SyncOutcome.RUNNING)
    reason = models.TextField(blank=True)
    cause = models.CharField(max_length=10, choices=FailureCause, default=FailureCause.NONE, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    heartbeat_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    compare_since = models.DateTimeField(
        default=timezone.now, help_text="Mailboxes compared since then are done in this run."
    )
    listed_at = models.DateTimeField(null=True, help_text="When this run had taken over the list of mailboxes.")
    claim = models.DateTimeField(
        null=True, help_text="Account.next_sync_at as this run left it: another value there is a newer request."
    )
    slices = models.PositiveIntegerField(default=0)
    messages_added = models.BigIntegerField(default=0)
    flags_changed = models.BigIntegerField(default=0)
    messages_removed = models.BigIntegerField(default=0)
    headers_added = models.BigIntegerField(default=0)
    bodies_added = models.BigIntegerField(default=0)
    bodies_parked = models.BigIntegerField(default=0)
    sizes_corrected = models.BigIntegerField(
        default=0, help_text="Messages that got a new UID because the upstream had announced a wrong size."
    )
    commands = models.BigIntegerField(default=0, help_text="Commands sent to the upstream.")
    bytes_in = models.BigIntegerField(default=0, help_text="Octets received from the upstream.")
    bytes_out = models.BigIntegerField(default=0)
    bodies_remaining = models.BigIntegerField(default=0, help_text="In the whole account, as of the last heartbeat.")

    objects = SyncRunQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account"], name="syncrun_one_open", condition=models.Q(finished_at__isnull=True)
            ),
            models.CheckConstraint(condition=models.Q(kind__in=SyncKind.values), name="syncrun_kind"),
            models.CheckConstraint(condition=models.Q(outcome__in=SyncOutcome.values), name="syncrun_outcome"),
            models.CheckConstraint(condition=models.Q(cause__in=FailureCause.values), name="syncrun_cause"),
        ]
        indexes = [
            models.Index(fields=["account", "-started_at"], name="syncrun_latest"),
            models.Index(fields=["started_at"], name="syncrun_started"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} sync of {self.account_id} at {self.started_at:%Y-%m-%d %H:%M:%S}"
