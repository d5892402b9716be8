"""The application that holds the mirror."""

from __future__ import annotations

from django.apps import AppConfig


class MailcacheConfig(AppConfig):
    """Accounts, mailboxes, messages and the journal."""

    name = "mailcache"
    verbose_name = "Mail"
