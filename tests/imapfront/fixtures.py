"""Fixtures of the frontend's tests; loaded by tests/conftest.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from pytest_django import DjangoDbBlocker

from mailcache.models import Mailbox, User
from mailcache.services.leases import Fence
from tests.builders import add_bodies, add_skeleton, make_account, make_fence, make_mailboxes, skeleton_row
from tests.imapfront.frontend import Frontend


@dataclass(frozen=True)
class MirroredAccount:
    """An account with its INBOX, and what tests need to put mail into it."""

    user: User
    fence: Fence
    inbox: Mailbox

    def add(self, messages: dict[int, bytes], *flags: str, mailbox: Mailbox | None = None) -> None:
        """Make messages appear, with their bytes, by upstream UID."""
        into = mailbox or self.inbox
        add_skeleton(self.fence, into, [skeleton_row(uid, *flags, size=len(data)) for uid, data in messages.items()])
        add_bodies(self.fence, into, messages)


@pytest.fixture
def mirrored(transactional_db: None) -> MirroredAccount:
    """A user with one account and an empty INBOX."""
    account = make_account()
    fence = make_fence(account)
    (inbox,) = make_mailboxes(fence)
    return MirroredAccount(account.user, fence, inbox)


@pytest.fixture(scope="session")
def frontend(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Frontend]:
    """A frontend with two processes, for the whole session."""
    server = Frontend(tmp_path_factory.mktemp("frontend"), workers=2)
    with django_db_blocker.unblock():
        server.start()
    yield server
    status = server.stop()
    print(server.log)
    assert status == 0
    assert "Traceback" not in server.log
