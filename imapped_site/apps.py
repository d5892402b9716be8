"""Django application of the composition root."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class SiteConfig(AppConfig):
    """The console and the commands that belong to no other package."""

    name = "imapped_site"
    verbose_name = "imapped"

    def ready(self) -> None:
        """Register the system checks, and make our Celery application the one to which every process sends."""
        import_module("imapped_site.checks")
        import_module("imapped_site.celery")
