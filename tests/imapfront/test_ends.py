"""How connections end from here: what was done is answered first, and whose login has changed has to log in again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from django.db import transaction

from imapfront.revocations import end_revoked_logins
from mailcache.journal import lock_mailbox
from mailcache.models import Message
from mailcache.reads.pool import Pool
from mailcache.services.login import Login
from mailcache.services.users import set_active, set_password, set_root_account
from tests.builders import make_mailboxes, make_user, message_bytes
from tests.imapfront.fixtures import MirroredAccount
from tests.imapfront.frontend import Frontend
from tests.imapfront.raw_client import RawClient
from tests.locks import somebody_waits
from tests.waiting import wait_until

DATA = message_bytes()
APPEND = b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(DATA), DATA)


def test_a_stop_waits_for_the_answer_of_what_is_being_done(mirrored: MirroredAccount, tmp_path: Path) -> None:
    frontend = Frontend(tmp_path, workers=1)
    frontend.start()
    with RawClient(frontend.plain_port) as client, RawClient(frontend.plain_port) as idle:
        client.login(mirrored.user.email)
        with transaction.atomic():
            lock_mailbox(mirrored.inbox.pk)
            client.send(APPEND)
            wait_until(somebody_waits)
            os.kill(frontend.pid, signal.SIGTERM)
            assert idle.until(b"* BYE")
        assert client.line().startswith(b"a OK [APPENDUID ")
        assert client.line() == b"* BYE the server is stopping"
        assert client.line() == b""
    assert frontend.stop() == 0
    assert Message.objects.count() == 1


@contextmanager
def _with_old_open(frontend: Frontend, mirrored: MirroredAccount) -> Iterator[tuple[RawClient, RawClient]]:
    """Yield a client that has the mailbox Old open, and another one of the same user."""
    make_mailboxes(mirrored.fence, "Old")
    with RawClient(frontend.plain_port) as client, RawClient(frontend.plain_port) as other:
        client.login(mirrored.user.email)
        other.login(mirrored.user.email)
        client.command(b"SELECT Old")
        yield client, other


def test_what_was_done_is_answered_though_the_open_mailbox_was_deleted(
    frontend: Frontend, mirrored: MirroredAccount
) -> None:
    with _with_old_open(frontend, mirrored) as (client, other):
        other.command(b"DELETE Old")
        client.send(APPEND)
        assert client.line().startswith(b"a OK [APPENDUID ")
        assert client.line() == b"* BYE the mailbox was deleted"


def test_an_idle_that_nobody_has_ended_is_not_answered(frontend: Frontend, mirrored: MirroredAccount) -> None:
    with _with_old_open(frontend, mirrored) as (client, other):
        client.send(b"i IDLE\r\n")
        assert client.until(b"+")
        other.command(b"DELETE Old")
        assert client.line() == b"* BYE the mailbox was deleted"


async def test_whoever_has_logged_in_since_the_look_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[dict[int, int]] = [{1: 1, 2: 1}, {1: 2, 2: 2}, {1: 2}]
    ended: list[int] = []

    class Connected:
        def __init__(self, user_id: int, auth_version: int) -> None:
            self.login = Login(user_id, auth_version)

        def end(self, _: str) -> None:
            ended.append(self.login.user_id)

    async def look(*_: object) -> dict[int, int]:
        return found.pop(0)

    monkeypatch.setattr("imapfront.revocations.auth_versions", look)
    with pytest.raises(IndexError):
        await end_revoked_logins(cast("Pool", None), [Connected(1, 2), Connected(2, 2)], poll_interval=0.0)
    assert ended == [2]


@pytest.mark.parametrize(
    "change",
    [
        lambda user_id: set_password(user_id=user_id, password="another one"),
        lambda user_id: set_active(user_id=user_id, active=False),
        lambda user_id: set_root_account(user_id=user_id, account_id=None),
    ],
    ids=["password", "not active", "root account"],
)
def test_a_login_that_has_changed_ends_its_sessions(
    frontend: Frontend, mirrored: MirroredAccount, change: Callable[[int], None]
) -> None:
    another = make_user()
    with RawClient(frontend.plain_port) as client, RawClient(frontend.plain_port) as of_another:
        client.login(mirrored.user.email)
        of_another.login(another.email)
        client.command(b"SELECT INBOX")
        client.send(b"i IDLE\r\n")
        assert client.until(b"+")
        change(mirrored.user.pk)
        assert client.line() == b"* BYE log in again: your login, or what it may see, has changed"
        assert client.line() == b""
        assert of_another.command(b"NOOP")[-1].startswith(b"t OK")
