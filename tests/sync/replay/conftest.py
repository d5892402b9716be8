"""What tests of replay share: an account in step with a real Dovecot, and a client's hands on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import current_app
from django.db import connections

from mailcache.models import Account
from tests.builders import make_account
from tests.fakes.chaos_proxy import ChaosProxy
from tests.fakes.gmail import FakeGmail
from tests.servers.dovecot import Dovecot
from tests.sync.replay.gmail import GmailHands
from tests.sync.replay.hands import Hands


@pytest.fixture
def hidden() -> frozenset[str]:
    """Capabilities that the upstream lacks; tests override it."""
    return frozenset()


@pytest.fixture
def proxy(dovecot: Dovecot, hidden: frozenset[str]) -> Iterator[ChaosProxy]:
    """Between imapped and Dovecot."""
    with ChaosProxy(dovecot.host, dovecot.plain_port, hidden=hidden) as between:
        yield between


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Name and queue of the tasks that were enqueued."""
    found: list[tuple[str, str]] = []

    def send(name: str, *, queue: str, **_: Any) -> None:
        found.append((name, queue))

    monkeypatch.setattr(current_app, "send_task", send)
    return found


@pytest.fixture
def account(transactional_db: None, dovecot: Dovecot, upstream_user: str, proxy: ChaosProxy) -> Iterator[Account]:
    """An account of a user of Dovecot's that no other test uses, behind the proxy."""
    yield make_account(port=proxy.port, username=upstream_user, secret=dovecot.password)
    connections.close_all()


@pytest.fixture
def hands(account: Account, dovecot: Dovecot, upstream_user: str, proxy: ChaosProxy) -> Hands:
    """A client of the account, and a look at its upstream."""
    return Hands(account, dovecot, upstream_user, proxy)


@pytest.fixture
def gmail() -> Iterator[FakeGmail]:
    """A fake Gmail with a label."""
    with FakeGmail() as server:
        server.account.create_label("Work")
        yield server


@pytest.fixture
def gmail_hands(transactional_db: None, gmail: FakeGmail) -> Iterator[GmailHands]:
    """A client of an account at it, behind a proxy."""
    with ChaosProxy("127.0.0.1", gmail.port) as between:
        yield GmailHands(gmail, between)
    connections.close_all()
