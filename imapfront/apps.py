"""Django application of ``imapfront``."""

from __future__ import annotations

from django.apps import AppConfig


class ImapfrontConfig(AppConfig):
    """``imapfront`` as an installed application."""

    name = "imapfront"
