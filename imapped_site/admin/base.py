"""What all pages of the console share: who may do what, no deleting, refusals shown as messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import admin, messages
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseRedirectBase
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from imapped_site.operations import Operator
from mailcache.errors import MailcacheError
from mailcache.models import User

_Row = TypeVar("_Row", bound=Model)

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin as _ModelAdmin
else:

    class _ModelAdmin(admin.ModelAdmin):
        """``ModelAdmin`` is generic to the type checker only."""

        def __class_getitem__(cls, _row: object) -> object:
            return cls


def operator_of(request: HttpRequest) -> Operator:
    """Return who acts, for the audit log."""
    return Operator(name=request.user.get_username(), address=request.META.get("REMOTE_ADDR") or None)


def is_operator(request: HttpRequest) -> bool:
    """Tell whether the request comes from an active operator: they may see all of the console."""
    user = request.user
    return isinstance(user, User) and user.is_active and user.is_staff


class OperatorAdmin(_ModelAdmin[_Row]):
    """A page that operators may see and change. Nothing is deleted here: users are deactivated, accounts paused."""

    list_per_page = 50
    show_full_result_count = False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_operator(request)

    def has_view_permission(self, request: HttpRequest, obj: _Row | None = None) -> bool:
        return is_operator(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_operator(request)

    def has_change_permission(self, request: HttpRequest, obj: _Row | None = None) -> bool:
        return is_operator(request)

    def has_delete_permission(self, request: HttpRequest, obj: _Row | None = None) -> bool:
        return False

    @method_decorator(sensitive_post_parameters())
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show what a service refused on saving as a message; the form's own checks come first and catch most."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except MailcacheError as error:
            self.message_user(request, str(error), messages.ERROR)
            return redirect(request.get_full_path())

    def url_name(self, name: str) -> str:
        """Return the full name of one of this page's URLs."""
        return f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}"

    def row_url(self, row: _Row, name: str = "change") -> str:
        """Return the URL of a page of one row."""
        return reverse(self.url_name(name), args=[row.pk])

    def may_press(self, request: HttpRequest, row: _Row) -> bool:
        """Tell whether somebody may use the further pages and the buttons of a row."""
        return self.has_change_permission(request, row)

    def row_path(self, route: str, name: str, view: Callable[..., HttpResponse]) -> URLPattern:
        """Return the pattern of a further page of one row, ``view(request, row)``, for those who may press there."""

        def guarded(request: HttpRequest, object_id: str) -> HttpResponse:
            row = self.get_object(request, object_id)
            if row is None or not self.may_press(request, row):
                raise Http404
            return view(request, row)

        return path(
            f"<path:object_id>/{route}/",
            self.admin_site.admin_view(guarded),
            name=f"{self.opts.app_label}_{self.opts.model_name}_{name}",
        )

    def button_path(self, route: str, name: str, press: Callable[[HttpRequest, _Row], str]) -> URLPattern:
        """Return the pattern of an object button: POST only, does its work, shows what it says, goes back."""

        def pressed(request: HttpRequest, row: _Row) -> HttpResponse:
            return self._press(request, row, press)

        return self.row_path(route, name, require_POST(pressed))

    def _press(
        self, request: HttpRequest, row: _Row, press: Callable[[HttpRequest, _Row], str]
    ) -> HttpResponseRedirectBase:
        self.press_each(request, [row], press)
        return redirect(self.row_url(row))

    def press_each(self, request: HttpRequest, rows: list[_Row], press: Callable[[HttpRequest, _Row], str]) -> None:
        """Do for every row what its button does, and show what came of each."""
        for row in rows:
            try:
                self.message_user(request, press(request, row), messages.SUCCESS)
            except MailcacheError as error:
                self.message_user(request, f"{row}: {error}", messages.ERROR)


class ReadOnlyAdmin(OperatorAdmin[_Row]):
    """A page whose rows are not edited. There is nothing to select them for unless it names actions."""

    actions: tuple[str, ...] | None = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: _Row | None = None) -> bool:
        return False
