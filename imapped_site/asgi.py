"""ASGI entry point of the operator console and the health endpoints."""

from __future__ import annotations

import os
from importlib import import_module

from django.conf import settings
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imapped_site.settings")

# Under ASGI every request may run in a thread of its own, so a kept connection would be a leaked one.
settings.DATABASES["default"]["CONN_MAX_AGE"] = 0

application = get_asgi_application()

if settings.METRICS_BIND is not None:
    # Imported here: it needs the models, which the line above has loaded.
    import_module("imapped_site.metrics").listen_for_metrics(settings.METRICS_BIND)
