"""What a watcher does about logins and connections that fail: nobody else waits, and nothing is tried in a hurry."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from random import Random

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from mailcache.models import Account, AuthMethod, LeaseKind, Mailbox, Message, TlsMode
from mailcache.services import accounts, leases, oauth_grants, sealed_secrets
from mailcache.services.leases import Fence
from mailcache.services.wanted import want_bodies
from sync import watch_account
from sync.oauth.providers import GENERIC_PROVIDER, Provider
from sync.upstream.errors import CommandNo
from sync.watch_account import AccountWatch
from sync.watcher import Watcher
from tests.builders import UIDVALIDITY, add_skeleton, make_account, make_fence, make_mailboxes, make_user, skeleton_row
from tests.fakes.scripted_imap import Action, ScriptedImap
from tests.sync.one_mailbox import OneMailbox
from tests.sync.watching import watching
from tests.waiting import wait_until

LOGGED_IN = b"{tag} OK welcome\r\n"
REFUSED = b"{tag} NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"


class TestLogins:
    pytestmark = pytest.mark.django_db(transaction=True)

    @pytest.fixture
    def upstream(self) -> Iterator[OneMailbox]:
        with OneMailbox(4) as upstream:
            yield upstream

    def test_nobody_else_waits_for_an_authorization_server(self, upstream: OneMailbox, settings: Settings) -> None:
        # It ends before the watcher, which finishes what it has begun.
        with watching() as watcher, ScriptedImap(greeting=Action.HANG) as silent:
            settings.OAUTH_PROVIDERS = {GENERIC_PROVIDER: _provider(silent.port)}
            for number in range(12):
                _add_signed_in(f"user{number}@token.test", upstream.port)
            wait_until(lambda: silent.connections)
            account = make_account(port=upstream.port)
            _know_messages(account, upstream)
            wait_until(lambda: watcher.listening == {account.pk})
            want_bodies(user_id=account.user_id, mailbox_id=account.mailboxes.get().pk, uids=[3])
            wait_until(lambda: Message.objects.filter(uid=3, content__isnull=False).exists())

    def test_after_a_refused_login_others_may_answer_for_the_account(self, upstream: OneMailbox) -> None:
        upstream.answer("LOGIN", [REFUSED, LOGGED_IN])
        account = make_account(port=upstream.port)
        with watching() as watcher:
            wait_until(lambda: upstream.asked(b"LOGIN"))
            _take_the_lease(account)
            # And it is not tried again in a hurry: that could lock the account.
            reloads = watcher.reloads
            wait_until(lambda: watcher.reloads > reloads + 5)
        assert upstream.connections == 1

    def test_after_a_refused_login_it_is_tried_again(
        self, upstream: OneMailbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sync.watcher._ASIDE_SECONDS", 1.0)
        upstream.answer("LOGIN", [REFUSED, LOGGED_IN])
        account = make_account(port=upstream.port)
        with watching() as watcher:
            wait_until(lambda: watcher.listening == {account.pk})

    def test_an_account_whose_secret_cannot_be_opened_is_given_back(self, upstream: OneMailbox) -> None:
        account, other = make_account(port=upstream.port), make_account(port=upstream.port)
        sealed = sealed_secrets.seal_secret(account_id=other.pk, secret="secret")
        Account.objects.filter(pk=account.pk).update(sealed_secret=sealed)
        with watching() as watcher:
            wait_until(lambda: watcher.listening == {other.pk} and watcher.reloads > 3)
            _take_the_lease(account)
        assert upstream.connections == 1


class TestPauses:
    """The pauses of one account, for whose bytes somebody waits all the time."""

    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Short pauses; returns after how many failures each was."""
        failures: list[int] = []

        def account_delay(count: int, rng: Random) -> timedelta:
            failures.append(count)
            return timedelta(seconds=0.2)

        monkeypatch.setattr(watch_account, "account_delay", account_delay)
        monkeypatch.setattr(watch_account, "_LOGINS_APART_SECONDS", 0.0)
        return failures

    @pytest.fixture
    def fails(self, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
        """What connecting fails with, one after the other; then it succeeds."""
        errors: list[Exception] = []

        async def connected(watch: AccountWatch, *, after_failure: bool) -> None:
            watch.want()
            if errors:
                raise errors.pop(0)
            await asyncio.Event().wait()

        monkeypatch.setattr(AccountWatch, "_connected", connected)
        return errors

    async def test_no_login_comes_sooner_than_the_upstream_asks_for(self, fails: list[Exception]) -> None:
        throttled = CommandNo("EXAMINE", "", "Request is throttled. Suggested Backoff Time: 1000 milliseconds")
        fails += [throttled, throttled]
        assert await _seconds_until_gone(fails) >= 1.0

    async def test_a_fault_of_ours_is_a_failure(self, fails: list[Exception], quick: list[int]) -> None:
        fails += [OSError(errno.ENOSPC, "No space left on device") for _ in range(3)]
        # The pause is not cut short.
        assert await _seconds_until_gone(fails) >= 0.4
        assert quick == [1, 2, 3]


async def _seconds_until_gone(fails: list[Exception]) -> float:
    """Return how long the watch of an account takes until it has met all the errors."""
    loop = asyncio.get_running_loop()
    watch = AccountWatch(Watcher()._context, Fence(1, LeaseKind.WATCH, "test", 1), "imap.example.test")
    began = loop.time()
    task = asyncio.create_task(watch.run())
    try:
        async with asyncio.timeout(20):
            while fails:
                assert not task.done()
                await asyncio.sleep(0.01)
        return loop.time() - began
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _provider(port: int) -> Provider:
    url = f"http://127.0.0.1:{port}"
    return Provider(
        name=GENERIC_PROVIDER,
        title="the provider",
        client_id="imapped-client",
        client_secret="client secret",
        authorization_url=f"{url}/authorize",
        token_url=f"{url}/token",
        device_url="",
        scopes=("mail",),
    )


def _add_signed_in(address: str, port: int) -> None:
    """Add an account whose access token has ended."""
    account = accounts.create_account(
        user=make_user(),
        address=address,
        host="127.0.0.1",
        port=port,
        username=address,
        secret="",
        tls_mode=TlsMode.PLAIN,
        auth_method=AuthMethod.XOAUTH2,
    )
    oauth_grants.store_grant(
        account_id=account.pk,
        provider=GENERIC_PROVIDER,
        refresh_token="refresh",
        access_token="first",
        expires_at=timezone.now(),
    )


def _take_the_lease(account: Account) -> None:
    wait_until(lambda: leases.acquire(account_id=account.pk, kind=LeaseKind.WATCH, holder="a task") is not None)


def _know_messages(account: Account, upstream: OneMailbox) -> None:
    """Have the messages of an account here without their bytes."""
    fence = make_fence(account)
    (inbox,) = make_mailboxes(fence)
    add_skeleton(fence, inbox, [skeleton_row(uid, size=len(data)) for uid, data in upstream.messages.items()])
    Mailbox.objects.filter(pk=inbox.pk).update(upstream_uidvalidity=UIDVALIDITY)
    leases.release(fence)
