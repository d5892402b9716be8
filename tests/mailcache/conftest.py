"""Fixtures that tests of the mirror share."""

from __future__ import annotations

import pytest

from tests.mailcache.queued import QueuedAccount


@pytest.fixture
def queued(transactional_db: None) -> QueuedAccount:
    """An account with two messages and an empty queue."""
    return QueuedAccount()
