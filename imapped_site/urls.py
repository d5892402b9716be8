"""URLs of the operator console and of the endpoints for machines."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from imapped_site import views
from imapped_site.admin.account_sign_in import oauth_callback

urlpatterns = [
    path("healthz", views.healthz),
    path("readyz", views.readyz),
    path("metrics", views.metrics),
    path("", RedirectView.as_view(url="/admin/")),
    path("admin/oauth/callback/", oauth_callback, name="oauth_callback"),
    path("admin/", admin.site.urls),
]
