"""Mutations: local changes on their way upstream, what keeps them from getting there, and the ways out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from imapped_site import operations
from imapped_site.admin.base import ReadOnlyAdmin, operator_of
from imapped_site.mutation_words import describe
from imapped_site.units import age, decimal
from mailcache.errors import MailcacheError
from mailcache.models import Account, Mutation, MutationState


@admin.register(Mutation)
class MutationAdmin(ReadOnlyAdmin[Mutation]):
    """The replay queue, oldest first."""

    list_display = (
        "id", "kind", "account", "mailbox", "change", "state", "age", "attempts", "next_try", "reason",
    )  # fmt: skip
    list_filter = ("state", "parked_cause", "kind")
    search_fields = ("account__address", "mailbox__name", "last_error")
    ordering = ("pk",)
    actions = ("retry_selected", "drop_selected")
    fields = (
        "kind", "account", "mailbox", "target", "message_uid", "change", "state", "attempts", "next_try_at",
        "parked_cause", "last_error", "depends_on", "created_at",
    )  # fmt: skip
    readonly_fields = ("message_uid", "change")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Mutation]:
        rows = super().get_queryset(request).select_related("account", "mailbox", "target", "message__mailbox")
        return rows.defer("account__sealed_secret")

    @admin.display(description="message")
    def message_uid(self, mutation: Mutation) -> str:
        """Where the message that it concerns is here."""
        message = mutation.message
        return "-" if message is None else f"UID {message.uid} in {message.mailbox.name}"

    @admin.display(ordering="created_at")
    def age(self, mutation: Mutation) -> str:
        """When a client did it."""
        return age(timezone.now(), mutation.created_at)

    @admin.display(description="next try", ordering="next_try_at")
    def next_try(self, mutation: Mutation) -> str:
        """When it goes upstream, unless it waits for something else."""
        if mutation.state not in (MutationState.PENDING, MutationState.SENT):
            return "-"
        if mutation.account.replay_paused:
            return "paused"
        if mutation.account.upstream_away:
            return "when the upstream is back"
        now = timezone.now()
        date = max(mutation.next_try_at, mutation.account.next_replay_at or mutation.next_try_at)
        return "at once" if date <= now else age(now, date)

    @admin.display(description="why not yet", ordering="last_error")
    def reason(self, mutation: Mutation) -> str:
        """What the upstream said, of this change or of all of the account."""
        if mutation.state == MutationState.SETTLED:
            return mutation.last_error or "-"
        return mutation.last_error or mutation.account.replay_reason or "-"

    @admin.display
    def change(self, mutation: Mutation) -> str:
        """What it does."""
        return describe(mutation)

    @admin.action(description="Retry parked changes", permissions=["view"])
    def retry_selected(self, request: HttpRequest, mutations: QuerySet[Mutation]) -> None:
        """Have them tried again, at once."""
        self._for_each_account(request, mutations, operations.retry_mutations, "{} parked changes are tried again.")

    @admin.action(description="Drop changes, and undo them here", permissions=["view"])
    def drop_selected(self, request: HttpRequest, mutations: QuerySet[Mutation]) -> HttpResponse | None:
        """Give up on them, after asking once more."""
        if "confirmed" not in request.POST:
            context = {**self.admin_site.each_context(request), "opts": self.opts, "mutations": mutations}
            context["title"] = "Drop these changes?"
            return TemplateResponse(request, "admin/mailcache/mutation/drop.html", context)
        self._for_each_account(request, mutations, operations.drop_mutations, "{} changes were dropped.")
        return None

    def _for_each_account(
        self, request: HttpRequest, mutations: QuerySet[Mutation], work: Callable[..., int], told: str
    ) -> None:
        by_account: dict[Account, list[int]] = defaultdict(list)
        for mutation in mutations:
            by_account[mutation.account].append(mutation.pk)
        count = 0
        for account, ids in by_account.items():
            try:
                count += work(by=operator_of(request), account=account, ids=ids)
            except MailcacheError as error:
                self.message_user(request, f"{account}: {error}", messages.ERROR)
        self.message_user(request, told.format(decimal(count)), messages.SUCCESS)
