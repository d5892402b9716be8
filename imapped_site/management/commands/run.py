"""``manage.py run``: all of imapped in one foreground tree."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from imapped_site.embedded.errors import EmbeddedError
from imapped_site.foreground import run_foreground


class Command(BaseCommand):
    """For a desk or a small household; production starts the same processes one by one (docker/)."""

    help = "Run web, IMAP, worker, beat and watcher until Ctrl-C, with PostgreSQL and Valkey unless URLs are set."

    def handle(self, *args: Any, **options: Any) -> None:
        """Return when everything has stopped."""
        try:
            run_foreground(self.stdout)
        except EmbeddedError as error:
            raise CommandError(str(error)) from error
