"""Accounts: how each upstream is reached, how its sync is doing, and the buttons that act on it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache

from imapped_site import operations
from imapped_site.admin.account_forms import POLICY_FIELDS, UPSTREAM_FIELDS, AccountAddForm, AccountChangeForm
from imapped_site.admin.account_sign_in import SignInPages
from imapped_site.admin.base import operator_of
from imapped_site.admin.parked import parked_page_of, retry_from_form, shown
from imapped_site.mutation_words import read_queue
from imapped_site.sync_status import AccountStatus, read_mailbox_progress, read_status, read_statuses
from imapped_site.units import decimal, octets, span
from imapped_site.upstream_facts import read_upstream_facts
from imapped_site.upstream_test import try_upstream
from mailcache.models import OAUTH_METHODS, Account
from mailcache.services.policies import Policies

_TESTED_AT_ONCE = 10


@admin.register(Account)
class AccountAdmin(SignInPages):
    """Upstream accounts."""

    form = AccountChangeForm
    add_form = AccountAddForm
    change_form_template = "admin/mailcache/account/change_form.html"
    list_display = ("address", "user", "shown_state", "messages", "to_fetch", "parked", "lag", "next_sync")
    list_select_related = ("user",)
    list_filter = ("state", "sync_paused")
    search_fields = ("address", "display_name", "username", "host", "user__email")
    autocomplete_fields = ("user",)
    ordering = ("address", "pk")
    actions = ("test_selected", "sync_selected", "pause_selected", "resume_selected")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        return super().get_queryset(request).select_related("user").defer("sealed_secret")

    def get_form(
        self,
        request: HttpRequest,
        obj: Account | None = None,
        change: bool = False,  # noqa: FBT001, FBT002 - Django's signature
        **kwargs: Any,
    ) -> type[ModelForm[Account]]:
        if obj is None:
            kwargs["form"] = self.add_form
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Account | None = None) -> Any:
        whose = ("user", "address", "display_name")
        server = ("host", ("port", "tls_mode"), "auth_method", "username", "secret")
        policies = (("body_policy", "body_days"), "daily_bytes", "connection_limit", "profile", "quota_bytes")
        return (
            ("Account", {"fields": whose}),
            ("Upstream server", {"fields": server}),
            ("What is fetched, and how", {"fields": policies}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Account | None = None) -> tuple[str, ...]:
        return ("user", "address") if obj else ()

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """Add or change the account through the operations."""
        by, values = operator_of(request), form.cleaned_data
        if not change:
            names = ("user", "address", "display_name", *UPSTREAM_FIELDS)
            created = operations.add_account(by=by, **{name: values[name] for name in names}, policies=Policies.of(obj))
            obj.pk, obj._state.adding = created.pk, False  # noqa: SLF001 - Django's documented Model._state
            return
        if set(form.changed_data) & set(UPSTREAM_FIELDS):
            operations.change_upstream(by=by, account=obj, secret=values["secret"])
        if set(form.changed_data) & set(POLICY_FIELDS):
            operations.change_policies(by=by, account=obj, policies=Policies.of(obj))
        if "display_name" in form.changed_data:
            operations.set_display_name(by=by, account=obj, display_name=values["display_name"])

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Read what the rows of one page show in a fixed number of queries."""
        changelist = super().get_changelist_instance(request)
        rows = list(changelist.result_list)
        statuses = read_statuses(rows)
        for row in rows:
            row.status = statuses[row.pk]
        changelist.result_list = rows
        return changelist

    @admin.display(description="state")
    def shown_state(self, account: Account) -> SafeString:
        """The state with its reason as a tooltip."""
        status = _status(account)
        return format_html(
            '<span class="state {}" title="{}">{}</span>', status.tone, account.state_reason, status.summary
        )

    @admin.display(description="messages")
    def messages(self, account: Account) -> str:
        """Messages that clients see."""
        return decimal(_status(account).messages)

    @admin.display(description="bodies to fetch")
    def to_fetch(self, account: Account) -> str:
        """Messages whose bytes are not here yet."""
        status = _status(account)
        return f"{decimal(status.bodies_waiting)} ({octets(status.bytes_waiting)})" if status.bodies_waiting else "-"

    @admin.display(description="parked")
    def parked(self, account: Account) -> str | SafeString:
        """Messages that could not be fetched."""
        number = _status(account).bodies_parked
        return format_html('<a href="{}">{}</a>', self.row_url(account, "parked"), decimal(number)) if number else "-"

    @admin.display(description="lag", ordering="-last_synced_at")
    def lag(self, account: Account) -> str:
        """For how long the account has not been known to be in step."""
        return span(_status(account).lag_seconds)

    @admin.display(description="next sync", ordering="next_sync_at")
    def next_sync(self, account: Account) -> str:
        """When it is due."""
        status = _status(account)
        return status.next_try if status.is_scheduled else "-"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the account below its progress."""
        account = self.get_object(request, object_id)
        context = {**self._progress(account), "upstream": read_upstream_facts(account)} if account else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def get_urls(self) -> list[URLPattern]:
        return [
            self.row_path("progress", "progress", never_cache(self.progress_panel)),
            self.row_path("parked", "parked", self.parked_page),
            self.button_path("forget-latches", "forget_latches", self.press_forget_latches),
            self.button_path("test", "test", self.press_test),
            self.button_path("sync", "sync", self.press_sync),
            self.button_path("pause", "pause", self.press_pause),
            self.button_path("resume", "resume", self.press_resume),
            self.button_path("pause-replay", "pause_replay", self.press_pause_replay),
            self.button_path("resume-replay", "resume_replay", self.press_resume_replay),
            *self.sign_in_urls(),
            *super().get_urls(),
        ]

    def progress_panel(self, request: HttpRequest, account: Account) -> HttpResponse:
        """Return the panel alone: the page asks for it again and again while it is looked at."""
        return TemplateResponse(request, "admin/mailcache/account/progress.html", self._progress(account))

    def _progress(self, account: Account) -> dict[str, Any]:
        return {
            "uses_oauth": account.auth_method in OAUTH_METHODS,
            "status": read_status(account),
            "mailboxes": read_mailbox_progress(account),
            "queue": read_queue(account),
        }

    def parked_page(self, request: HttpRequest, account: Account) -> HttpResponse:
        """Show the account's parked messages, and fetch those again that were posted."""
        if request.method == "POST":
            count = retry_from_form(request, account)
            self.message_user(request, f"{decimal(count)} messages will be fetched again.")
            return redirect(self.row_url(account, "parked"))
        page = parked_page_of(account, request.GET.get("p", "1"))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": account,
            "title": f"Parked messages of {account}",
            "page": page,
            "messages_shown": shown(page),
        }
        return TemplateResponse(request, "admin/mailcache/account/parked.html", context)

    def press_forget_latches(self, request: HttpRequest, account: Account) -> str:
        """Let refused capabilities be tried again."""
        operations.forget_latches(by=operator_of(request), account=account)
        return f"What {account.host} refused will be tried again with the next connection."

    def press_test(self, request: HttpRequest, account: Account) -> str:
        """Log in upstream and tell what is there."""
        return try_upstream(by=operator_of(request), account=account).summary

    def press_sync(self, request: HttpRequest, account: Account) -> str:
        """Ask for a sync."""
        operations.sync_now(by=operator_of(request), account=account)
        return f"{account} will be synced now."

    def press_pause(self, request: HttpRequest, account: Account) -> str:
        """Pause syncing."""
        operations.pause_sync(by=operator_of(request), account=account)
        return f"Syncing {account} is paused. What is mirrored is still served."

    def press_resume(self, request: HttpRequest, account: Account) -> str:
        """Resume syncing."""
        operations.resume_sync(by=operator_of(request), account=account)
        return f"Syncing {account} goes on."

    def press_pause_replay(self, request: HttpRequest, account: Account) -> str:
        """Keep local changes here."""
        operations.pause_replay(by=operator_of(request), account=account, paused=True)
        return f"Changes of {account} stay here for now. Clients can go on changing mail."

    def press_resume_replay(self, request: HttpRequest, account: Account) -> str:
        """Send local changes upstream again."""
        operations.pause_replay(by=operator_of(request), account=account, paused=False)
        return f"Changes of {account} go upstream again."

    @admin.action(description=f"Test connection (of the first {_TESTED_AT_ONCE} selected)")
    def test_selected(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        """Test connections one after the other, in bounded time."""
        self.press_each(request, list(accounts[:_TESTED_AT_ONCE]), self.press_test)

    @admin.action(description="Sync now")
    def sync_selected(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        """Ask for a sync of each."""
        self.press_each(request, list(accounts), self.press_sync)

    @admin.action(description="Pause sync")
    def pause_selected(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        """Pause each."""
        self.press_each(request, list(accounts), self.press_pause)

    @admin.action(description="Resume sync")
    def resume_selected(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        """Resume each."""
        self.press_each(request, list(accounts), self.press_resume)


def _status(account: Account) -> AccountStatus:
    """Return what ``get_changelist_instance`` read for this row."""
    status: AccountStatus = account.status  # type: ignore[attr-defined] # set for the rows of a list only
    return status
