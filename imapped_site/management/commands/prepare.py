"""``manage.py prepare``: bring the stores up to date and do what a first start needs."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from imapped_site.first_start import create_first_administrator, create_self_signed_certificate, make_directories


class Command(BaseCommand):
    """Safe to run at every start; what exists is left alone."""

    help = "Migrate the database; on a first start create the administrator and a self-signed certificate."

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate, then report what was created."""
        make_directories()
        call_command("migrate", interactive=False, verbosity=0)
        for line in (*create_self_signed_certificate(), *create_first_administrator()):
            self.stdout.write(line)
