"""Mailboxes: names, roles, counters and how their sync stands. Who wants to read mail uses a mail client."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern

from imapped_site import operations
from imapped_site.admin.base import ReadOnlyAdmin, is_operator, operator_of
from imapped_site.mailbox_sync import read_mailbox_sync
from imapped_site.units import decimal, octets
from mailcache.models import Mailbox


@admin.register(Mailbox)
class MailboxAdmin(ReadOnlyAdmin[Mailbox]):
    """Mailboxes as clients see them, and what the upstream calls them."""

    change_form_template = "admin/mailcache/mailbox/change_form.html"
    list_display = ("name", "account", "role", "message_total", "unseen", "size", "sync_paused_reason")
    list_filter = ("role", "selectable")
    search_fields = ("name", "account__address")
    ordering = ("account__address", "name")
    fieldsets = (
        (None, {"fields": ("account", "name", "role", "selectable", "subscribed", "sync_paused_reason")}),
        ("Counters", {"fields": ("message_total", "unseen", "deleted", "size")}),
        ("As clients know it", {"fields": ("uidvalidity", "uidnext", "highestmodseq", "journal_floor", "recent_uid")}),
        (
            "Upstream",
            {"fields": ("shown_upstream_name", "upstream_delimiter", "upstream_uidvalidity", "upstream_mailbox_id",
                        "missed_lists")},
        ),
    )  # fmt: skip
    readonly_fields = ("message_total", "size", "shown_upstream_name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Mailbox]:
        return super().get_queryset(request).select_related("account__user").defer("account__sealed_secret")

    def may_press(self, request: HttpRequest, row: Mailbox) -> bool:
        """Buttons ask for syncs; what stands in the row is not changed by hand."""
        return is_operator(request)

    def get_urls(self) -> list[URLPattern]:
        return [
            self.button_path("sync", "sync", self.press_sync),
            self.button_path("compare", "compare", self.press_compare),
            self.button_path("confirm-deletions", "confirm_deletions", self.press_confirm_deletions),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the mailbox below how its sync stands."""
        mailbox = self.get_object(request, object_id)
        context = {"sync": read_mailbox_sync(mailbox)} if mailbox else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def press_sync(self, request: HttpRequest, mailbox: Mailbox) -> str:
        """Ask for a comparison."""
        operations.sync_mailbox(by=operator_of(request), mailbox=mailbox)
        return f"{mailbox} will be synced now."

    def press_compare(self, request: HttpRequest, mailbox: Mailbox) -> str:
        """Ask for a comparison of everything."""
        operations.sync_mailbox(by=operator_of(request), mailbox=mailbox, everything=True)
        return f"Every UID and all flags of {mailbox} will be compared now."

    def press_confirm_deletions(self, request: HttpRequest, mailbox: Mailbox) -> str:
        """Believe the deletions that are held back."""
        operations.confirm_deletions(by=operator_of(request), mailbox=mailbox)
        return f"The deletions in {mailbox} will be taken over now."

    @admin.display(description="messages", ordering="messages")
    def message_total(self, mailbox: Mailbox) -> str:
        """Messages in it."""
        return decimal(mailbox.messages)

    @admin.display(ordering="bytes")
    def size(self, mailbox: Mailbox) -> str:
        """Octets of its messages."""
        return octets(mailbox.bytes)

    @admin.display(description="upstream name")
    def shown_upstream_name(self, mailbox: Mailbox) -> str:
        """The bytes of the name on the upstream's wire, readable."""
        raw = mailbox.upstream_name
        return "-" if raw is None else bytes(raw).decode("ascii", "backslashreplace")
