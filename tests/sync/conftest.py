"""What tests of the sync share: an account whose upstream is a real Dovecot, and ways to look at what is here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from mailcache.models import Account
from tests.builders import make_account
from tests.servers.dovecot import Dovecot
from tests.sync.one_mailbox import OneMailbox, Upstream
from tests.sync.upstreams import UPSTREAMS, opened
from tests.sync.upstreams import Upstream as AnyUpstream


@pytest.fixture
def account(transactional_db: None, dovecot: Dovecot, upstream_user: str) -> Account:
    """An account of a user of Dovecot's that no other test uses."""
    return make_account(port=dovecot.plain_port, username=upstream_user, secret=dovecot.password)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Start an upstream with so many messages; returns it and its account."""
    with ExitStack() as stack:

        def start(count: int) -> tuple[OneMailbox, Account]:
            server = stack.enter_context(OneMailbox(count))
            return server, make_account(port=server.port)

        yield start


@pytest.fixture(params=UPSTREAMS)
def any_upstream(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[AnyUpstream]:
    """Each kind of upstream in turn, with a new user."""
    server, tier = request.param.split()
    with opened(request.getfixturevalue(f"bare_{server}"), tier) as upstream:
        yield upstream
