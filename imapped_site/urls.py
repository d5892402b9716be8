"""URLs of the operator console and of the endpoints for machines."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from imapped_site import views

urlpatterns = [
    path("healthz", views.healthz),
    path("readyz", views.readyz),
    path("metrics", views.metrics),
    path("", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
]
