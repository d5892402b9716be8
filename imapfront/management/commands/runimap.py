"""``manage.py runimap``: the IMAP frontend."""

from __future__ import annotations

import resource
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from imapfront.conf import configuration
from imapfront.server import run_server
from imapfront.workers import Workers


class Command(BaseCommand):
    """Serves mail clients until it is told to stop."""

    help = "Serve IMAP on IMAP_PLAINTEXT_BIND and IMAP_TLS_BIND with IMAP_WORKERS processes."

    def handle(self, *args: Any, **options: Any) -> None:
        """Return when all processes have ended."""
        # Each connection is a file descriptor, and the usual soft limit is 1,024.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        Workers(settings.IMAP_WORKERS, lambda: run_server(configuration())).run()
