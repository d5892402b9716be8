"""Sync runs: what each did, and how it ended."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from imapped_site.admin.base import ReadOnlyAdmin
from imapped_site.sync_status import describe_counts
from imapped_site.units import age, octets, span
from sync.models import STALE_AFTER, SyncOutcome, SyncRun

_TONES = {
    SyncOutcome.RUNNING: "busy",
    SyncOutcome.INTERRUPTED: "idle",
    SyncOutcome.COMPLETED: "good",
    SyncOutcome.PARTLY: "warn",
    SyncOutcome.FAILED: "bad",
    SyncOutcome.STOPPED: "idle",
    SyncOutcome.ABANDONED: "warn",
}


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin[SyncRun]):
    """Each run with its counts, heartbeat and outcome; newest first."""

    list_display = ("started_at", "account", "shown_outcome", "duration", "done", "bodies_remaining", "reason")
    list_filter = ("outcome", "cause", "kind", "started_at")
    search_fields = ("account__address", "reason")
    ordering = ("-started_at", "-pk")
    fieldsets = (
        (None, {"fields": ("account", "kind", "shown_outcome", "cause", "reason")}),
        ("Time", {"fields": ("started_at", "heartbeat", "finished_at", "duration", "slices")}),
        (
            "Here",
            {"fields": ("messages_added", "messages_removed", "flags_changed", "headers_added", "bodies_added",
                        "bodies_parked", "bodies_remaining")},
        ),
        ("Upstream", {"fields": ("commands", "received", "bytes_out")}),
    )  # fmt: skip
    readonly_fields = ("shown_outcome", "heartbeat", "duration", "received")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SyncRun]:
        return super().get_queryset(request).select_related("account").defer("account__sealed_secret")

    @admin.display(description="outcome", ordering="outcome")
    def shown_outcome(self, run: SyncRun) -> SafeString:
        """The outcome; a run without a sign of life does not count as running."""
        stale = run.finished_at is None and timezone.now() - run.heartbeat_at > STALE_AFTER
        text = "no sign of life" if stale else SyncOutcome(run.outcome).label
        tone = "warn" if stale else _TONES[SyncOutcome(run.outcome)]
        return format_html('<span class="state {}">{}</span>', tone, text)

    @admin.display(description="last sign of life")
    def heartbeat(self, run: SyncRun) -> str:
        """How long ago the run was heard of."""
        return age(timezone.now(), run.heartbeat_at)

    @admin.display
    def done(self, run: SyncRun) -> str:
        """What it changed here."""
        return describe_counts(run)

    @admin.display
    def duration(self, run: SyncRun) -> str:
        """From the start to the end, or until now."""
        return span(((run.finished_at or timezone.now()) - run.started_at).total_seconds())

    @admin.display(description="received", ordering="bytes_in")
    def received(self, run: SyncRun) -> str:
        """Octets from the upstream."""
        return octets(run.bytes_in)
