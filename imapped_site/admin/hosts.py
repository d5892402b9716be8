"""Upstream hosts: how many connections the whole fleet may have to each."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest
from django.utils import timezone

from imapped_site import operations
from imapped_site.admin.base import OperatorAdmin, operator_of
from imapped_site.units import age
from sync.models import ConnectionSlot, UpstreamHost


@admin.register(UpstreamHost)
class UpstreamHostAdmin(OperatorAdmin[UpstreamHost]):
    """Hosts as accounts name them. One that is not listed has the limit of its provider profile, or none."""

    list_display = ("name", "connection_limit", "connections", "slow_lane")
    search_fields = ("name",)
    ordering = ("name",)
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[UpstreamHost]:
        slots = ConnectionSlot.objects.filter(host=OuterRef("name"), expires_at__gt=Now()).order_by()
        counts = slots.values("host").annotate(total=Count("pk")).values("total")
        return super().get_queryset(request).annotate(in_use=Coalesce(Subquery(counts), 0))

    def get_fields(self, request: HttpRequest, obj: UpstreamHost | None = None) -> tuple[str, ...]:
        return ("name", "connection_limit", "connections", "slow_lane") if obj else ("name", "connection_limit")

    def get_readonly_fields(self, request: HttpRequest, obj: UpstreamHost | None = None) -> tuple[str, ...]:
        return ("name", "connections", "slow_lane") if obj else ()

    def save_model(self, request: HttpRequest, obj: UpstreamHost, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """Set the limit through the operation."""
        saved = operations.set_host_limit(by=operator_of(request), name=obj.name, connection_limit=obj.connection_limit)
        obj.pk, obj._state.adding = saved.pk, False  # noqa: SLF001 - Django's documented Model._state

    @admin.display(description="connections in use")
    def connections(self, host: UpstreamHost) -> int:
        """Connections of all accounts now."""
        in_use: int = host.in_use  # type: ignore[attr-defined] # annotated by get_queryset
        return in_use

    @admin.display(description="slow lane")
    def slow_lane(self, host: UpstreamHost) -> str:
        """Until when its accounts are synced in the slow lane."""
        now = timezone.now()
        return f"ends {age(now, host.slow_until)}" if host.slow_until and host.slow_until > now else "-"
