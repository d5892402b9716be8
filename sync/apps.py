"""Django application of ``sync``."""

from __future__ import annotations

from django.apps import AppConfig


class SyncConfig(AppConfig):
    """``sync`` as an installed application."""

    name = "sync"

    def ready(self) -> None:
        """Listen to the domain."""
        from mailcache.signals import mutations_queued
        from sync.receivers import replay_soon

        mutations_queued.connect(replay_soon, dispatch_uid="sync.replay_soon")
