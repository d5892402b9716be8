"""ASGI entry point of the operator console and the health endpoints."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imapped_site.settings")

application = get_asgi_application()
