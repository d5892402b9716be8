"""Endpoints for machines: is the process alive, can it work, how is it doing."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from imapped_site.metrics import CONTENT_TYPE, render_metrics
from imapped_site.readiness import check_readiness


@never_cache
@require_safe
async def healthz(request: HttpRequest) -> HttpResponse:
    """Answer as long as the process does; asks nobody, so that a lost database gets no process restarted."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when requests can be served, 503 when not; the body names the part that is missing."""
    readiness = check_readiness()
    checks = {"postgresql": readiness.postgresql, "migrations": readiness.migrations, "redis": readiness.redis}
    return JsonResponse({"status": readiness.status, "checks": checks}, status=200 if readiness.is_ready else 503)


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Serve Prometheus here only without ``METRICS_BIND``, and then only to this machine."""
    if settings.METRICS_BIND is not None or not _is_local(request):
        raise Http404
    return HttpResponse(render_metrics(), content_type=CONTENT_TYPE)


def _is_local(request: HttpRequest) -> bool:
    """Tell whether the peer is this machine, and is not a proxy that speaks for somebody else."""
    if any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP")):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
