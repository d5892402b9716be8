"""Signals of the domain, sent after COMMIT: news for the packages above, which may miss them."""

from __future__ import annotations

from django.dispatch import Signal

mutations_queued = Signal()
"""Local changes wait to be replayed. Argument: ``account_id``."""


def announce_mutations(account_id: int) -> None:
    """Tell whoever listens; a listener that fails is no concern of the client's command."""
    mutations_queued.send_robust(sender=None, account_id=account_id)
