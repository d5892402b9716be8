"""The Celery application: ``celery -A imapped_site.celery worker``."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imapped_site.settings")

app = Celery("imapped")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
