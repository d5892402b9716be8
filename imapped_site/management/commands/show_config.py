"""``manage.py show_config``: every setting, its value and where it came from."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from imapped_site.settings.current import read


class Command(BaseCommand):
    """Secrets are shown as set or not set, never as what they are."""

    help = "Print every setting with its value and its origin."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one setting per line."""
        shown = read.shown()
        width = max(len(setting.name) for setting in shown)
        for setting in shown:
            self.stdout.write(f"{setting.name:<{width}}  {setting.value or '(not set)'}  [{setting.origin}]")
        for warning in read.warnings:
            self.stderr.write(f"warning: {warning}")
