"""The audit log."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.db.models import QuerySet
from django.dispatch import receiver
from django.http import HttpRequest

from imapped_site.admin.base import ReadOnlyAdmin
from mailcache.models import AuditEvent, User
from mailcache.services.audit import record_event

_NAME_LIMIT = 254


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin[AuditEvent]):
    """Who did what, from where; newest first."""

    list_display = ("at", "actor", "action", "account", "shown_detail", "address")
    list_filter = ("action", "at")
    search_fields = ("actor", "action", "user__email", "account__address")
    ordering = ("-at", "-pk")
    fields = ("at", "actor", "address", "action", "user", "account", "shown_detail")
    readonly_fields = ("shown_detail",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEvent]:
        return super().get_queryset(request).select_related("user", "account").defer("account__sealed_secret")

    @admin.display(description="detail")
    def shown_detail(self, event: AuditEvent) -> str:
        """The details as ``name: value``."""
        return ", ".join(f"{name}: {value}" for name, value in event.detail.items())


@receiver(user_logged_in)
def note_login(request: HttpRequest | None, user: User, **_: Any) -> None:
    """Record that somebody logged in to the console."""
    record_event(action="console.login", actor=user.email, user_id=user.pk, address=_address(request))


@receiver(user_login_failed)
def note_failed_login(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Record a refused login with the name that was given; Django has masked the password."""
    name = str(credentials.get("username", "")).replace("\0", "")[:_NAME_LIMIT]
    record_event(action="console.login_failed", actor=name, address=_address(request))


def _address(request: HttpRequest | None) -> str | None:
    return (request.META.get("REMOTE_ADDR") or None) if request else None
