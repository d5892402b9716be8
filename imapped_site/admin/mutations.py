"""Mutations: local changes on their way upstream, and what keeps them from getting there."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from imapped_site.admin.base import ReadOnlyAdmin
from mailcache.flags import FlagSet
from mailcache.models import Mutation


@admin.register(Mutation)
class MutationAdmin(ReadOnlyAdmin[Mutation]):
    """The replay queue, oldest first."""

    list_display = ("id", "kind", "account", "mailbox", "change", "state", "attempts", "next_try_at", "last_error")
    list_filter = ("state", "kind")
    search_fields = ("account__address", "mailbox__name", "last_error")
    ordering = ("pk",)
    fields = (
        "kind", "account", "mailbox", "message_uid", "change", "state", "attempts", "next_try_at", "last_error",
        "created_at",
    )  # fmt: skip
    readonly_fields = ("message_uid", "change")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Mutation]:
        rows = super().get_queryset(request).select_related("account", "mailbox", "message")
        return rows.defer("account__sealed_secret")

    @admin.display(description="UID")
    def message_uid(self, mutation: Mutation) -> str:
        """The UID of the message that it changes."""
        return "-" if mutation.message is None else str(mutation.message.uid)

    @admin.display
    def change(self, mutation: Mutation) -> str:
        """The flags that it adds and removes."""
        added = FlagSet.of(mutation.add_flags, mutation.add_keywords).render().decode()
        removed = FlagSet.of(mutation.remove_flags, mutation.remove_keywords).render().decode()
        return " ".join(f"{sign}({flags})" for sign, flags in (("+", added), ("-", removed)) if flags) or "-"
