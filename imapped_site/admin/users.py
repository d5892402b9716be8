"""Users: who may log in, who may operate, and their app passwords."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.forms import Form, ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from imapped_site import operations
from imapped_site.admin.base import OperatorAdmin, operator_of
from imapped_site.admin.user_forms import AppPasswordForm, NewPasswordForm, UserAddForm, UserChangeForm
from mailcache.errors import InvalidValue
from mailcache.models import AppPassword, User


@admin.register(User)
class UserAdmin(OperatorAdmin[User]):
    """People. Only administrators change operators, so that no operator can make themselves one."""

    form = UserChangeForm
    add_form = UserAddForm
    change_form_template = "admin/mailcache/user/change_form.html"
    list_display = ("email", "role", "is_active", "account_count", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser")
    search_fields = ("email",)
    ordering = ("email",)
    actions = ("deactivate", "activate")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).annotate(account_total=Count("accounts"))

    @admin.display(description="role")
    def role(self, user: User) -> str:
        """What the user may do in this console."""
        return "administrator" if user.is_superuser else "operator" if user.is_staff else "-"

    @admin.display(description="accounts", ordering="account_total")
    def account_count(self, user: User) -> str:
        """A link to the user's accounts."""
        url = reverse("admin:mailcache_account_changelist")
        return format_html('<a href="{}?user__id__exact={}">{}</a>', url, user.pk, getattr(user, "account_total", 0))

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        allowed = super().has_change_permission(request, obj)
        return allowed and (obj is None or not obj.is_staff or request.user.is_superuser)

    def get_form(
        self,
        request: HttpRequest,
        obj: User | None = None,
        change: bool = False,  # noqa: FBT001, FBT002 - Django's signature
        **kwargs: Any,
    ) -> type[ModelForm[User]]:
        if obj is None:
            kwargs["form"] = self.add_form
        form = super().get_form(request, obj, change=change, **kwargs)
        if "root_account" in form.base_fields:
            widget: Any = form.base_fields["root_account"].widget
            widget.can_add_related = widget.can_change_related = widget.can_view_related = False
        return form

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        rights = ("Console", {"fields": ("is_staff", "is_superuser")})
        if obj is None:
            return ((None, {"fields": ("email", "password", "password_again")}), rights)
        return ((None, {"fields": ("email", "is_active", "account_count", "root_account", "last_login")}), rights)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        rights = () if request.user.is_superuser else ("is_staff", "is_superuser")
        return rights if obj is None else ("email", "account_count", "last_login", *rights)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """Create or change the user through the operations."""
        by, values = operator_of(request), form.cleaned_data
        rights = {name: bool(values.get(name)) for name in ("is_staff", "is_superuser")}
        if not change:
            created = operations.create_user(by=by, email=obj.email, password=values["password"], **rights)
            obj.pk, obj._state.adding = created.pk, False  # noqa: SLF001 - Django's documented Model._state
            return
        changed = set(form.changed_data)
        if obj.pk == request.user.pk and changed & {"is_active", "is_staff", "is_superuser"}:
            raise InvalidValue("You cannot take your own rights; ask another administrator.")
        if "is_active" in changed:
            operations.set_active(by=by, user=obj, active=values["is_active"])
        if "root_account" in changed:
            operations.set_root_account(by=by, user=obj, account=values["root_account"])
        if changed & rights.keys():
            operations.set_operator(by=by, user=obj, **rights)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the user with their app passwords."""
        context = {"app_passwords": AppPassword.objects.filter(user_id=object_id).order_by("label")}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def get_urls(self) -> list[URLPattern]:
        return [
            self.row_path("password", "password", sensitive_post_parameters()(self.password_page)),
            self.row_path("app-password", "app_password", never_cache(self.app_password_page)),
            self.button_path("revoke", "revoke", self.press_revoke),
            *super().get_urls(),
        ]

    def password_page(self, request: HttpRequest, user: User) -> HttpResponse:
        """Set a user's password."""
        form = NewPasswordForm(request.POST or None, user=user)
        if form.is_valid():
            operations.set_password(by=operator_of(request), user=user, password=form.cleaned_data["password"])
            self.message_user(request, f"{user} has a new password; cached logins have ended.")
            return redirect(self.row_url(user))
        return self._form_page(request, user, form, title=f"New password for {user}", button="Set password")

    def app_password_page(self, request: HttpRequest, user: User) -> HttpResponse:
        """Create an app password and show it in this one answer; it is stored nowhere in readable form."""
        form = AppPasswordForm(request.POST or None, user=user)
        if form.is_valid():
            label = form.cleaned_data["label"]
            password = operations.create_app_password(by=operator_of(request), user=user, label=label)
            shown = {**self._page(request, user, f"App password for {label}"), "password": password, "label": label}
            return TemplateResponse(request, "admin/mailcache/user/app_password.html", shown)
        return self._form_page(request, user, form, title=f"New app password for {user}", button="Create")

    def press_revoke(self, request: HttpRequest, user: User) -> str:
        """Revoke the app password whose label was posted."""
        label = request.POST.get("label", "")
        operations.revoke_app_password(by=operator_of(request), user=user, label=label)
        return f"The app password {label!r} no longer works."

    @admin.action(description="Deactivate: no more logins, no more syncing")
    def deactivate(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """Deactivate the selected users."""
        self._set_active(request, users, active=False)

    @admin.action(description="Activate")
    def activate(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """Activate the selected users."""
        self._set_active(request, users, active=True)

    def _set_active(self, request: HttpRequest, users: QuerySet[User], *, active: bool) -> None:
        def press(request: HttpRequest, user: User) -> str:
            if user.pk == request.user.pk or not self.has_change_permission(request, user):
                raise InvalidValue("you may not do this to yourself or to an operator")
            operations.set_active(by=operator_of(request), user=user, active=active)
            return f"{user} is {'active' if active else 'deactivated'}."

        self.press_each(request, list(users), press)

    def _form_page(
        self, request: HttpRequest, user: User, form: Form | Any, *, title: str, button: str
    ) -> HttpResponse:
        context = {**self._page(request, user, title), "form": form, "button": button}
        return TemplateResponse(request, "admin/mailcache/user/small_form.html", context)

    def _page(self, request: HttpRequest, user: User, title: str) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "opts": self.opts, "title": title, "original": user}
