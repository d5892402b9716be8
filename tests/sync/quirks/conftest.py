"""Fixtures of the quirks' tests: servers that get things wrong, and accounts of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from mailcache.models import Account
from tests.builders import make_account
from tests.fakes.quirky.quirks import Quirk
from tests.fakes.quirky.server import OFFERED, QuirkyImap
from tests.sync.quirks.outcomes import Quirky


@pytest.fixture
def quirky() -> Iterator[Quirky]:
    """Start a server with so many messages in INBOX; returns it, and its account that is treated by a profile."""
    with ExitStack() as stack:

        def start(
            *quirks: Quirk, profile: str = "generic", count: int = 8, offered: bytes = OFFERED
        ) -> tuple[QuirkyImap, Account]:
            server = stack.enter_context(QuirkyImap(*quirks, offered=offered))
            server.inbox.deliver(count)
            account = make_account(port=server.port)
            account.profile = profile
            account.save(update_fields=["profile"])
            return server, account

        yield start
