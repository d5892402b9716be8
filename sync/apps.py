"""Django application of ``sync``."""

from __future__ import annotations

from django.apps import AppConfig


class SyncConfig(AppConfig):
    """``sync`` as an installed application."""

    name = "sync"
