"""Mailboxes: names, roles and counters. Who wants to read mail uses a mail client."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from imapped_site.admin.base import ReadOnlyAdmin
from imapped_site.units import decimal, octets
from mailcache.models import Mailbox


@admin.register(Mailbox)
class MailboxAdmin(ReadOnlyAdmin[Mailbox]):
    """Mailboxes as clients see them, and what the upstream calls them."""

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
        return super().get_queryset(request).select_related("account").defer("account__sealed_secret")

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
