"""What tests of the sync share: an account whose upstream is a real Dovecot, and ways to look at what is here."""

from __future__ import annotations

import pytest

from mailcache.models import Account
from tests.builders import make_account
from tests.servers.dovecot import Dovecot


@pytest.fixture
def account(transactional_db: None, dovecot: Dovecot, upstream_user: str) -> Account:
    """An account of a user of Dovecot's that no other test uses."""
    return make_account(port=dovecot.plain_port, username=upstream_user, secret=dovecot.password)
