"""Where measurements run: a PostgreSQL with fsync on and a Valkey of their own, and settings that point at them."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django

from imapped_site.embedded.servers import EmbeddedServers


@contextmanager
def environment() -> Iterator[tuple[Path, EmbeddedServers]]:
    """Yield an empty directory and the servers; Django is set up."""
    directory = Path(tempfile.mkdtemp(prefix="imapped-bench-"))
    directory.chmod(0o711)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "imapped_site.settings",
        "APP_ENV": "test",
        "DATA_DIR": str(directory),
        "ENCRYPTION_MASTER_KEY": secrets.token_urlsafe(32),
    }
    try:
        with EmbeddedServers(directory) as servers:
            os.environ |= servers.environment
            django.setup()
            yield directory, servers
    finally:
        shutil.rmtree(directory, ignore_errors=True)
