"""News from the domain, and what follows of it."""

from __future__ import annotations

from typing import Any

from sync import scheduling


def replay_soon(*, account_id: int, **_: Any) -> None:
    """Have local changes replayed; what cannot be enqueued is found by the sweep."""
    scheduling.enqueue_changes(account_id)
