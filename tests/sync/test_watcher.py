"""The watcher on a real Dovecot: what the upstream says becomes a wanted mailbox; leases decide who watches."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from mailcache.models import Account, AuthMethod, Lease, LeaseKind, TlsMode
from mailcache.services import accounts
from sync.account_run import SliceEnd, run_account_until_done, run_slice
from sync.models import Checkpoint
from tests.builders import message_bytes
from tests.servers.dovecot import Dovecot
from tests.sync.mirror import mirrored, upstream
from tests.sync.watching import watching
from tests.waiting import wait_until

pytestmark = pytest.mark.dovecot


def is_wanted(account: Account) -> bool:
    return Checkpoint.objects.filter(account=account, wanted_at__isnull=False).exists()


def is_due(account: Account) -> bool:
    return Account.objects.filter(pk=account.pk, next_sync_at__lte=timezone.now()).exists()


def test_what_the_upstream_says_is_synced(dovecot: Dovecot, account: Account, upstream_user: str) -> None:
    assert run_account_until_done(account.pk) is SliceEnd.DONE
    with watching() as watcher:
        wait_until(lambda: account.pk in watcher.listening)
        assert not is_wanted(account)

        dovecot.deliver(upstream_user, message_bytes("new"))
        wait_until(lambda: is_wanted(account))

    assert not is_due(account)
    assert run_slice(account.pk) is SliceEnd.DONE
    assert not is_wanted(account)
    assert mirrored(account)["INBOX"] == upstream(dovecot, upstream_user, "INBOX")["INBOX"]


def test_what_came_while_nobody_watched_is_noticed(dovecot: Dovecot, account: Account, upstream_user: str) -> None:
    assert run_account_until_done(account.pk) is SliceEnd.DONE
    dovecot.deliver(upstream_user, message_bytes("early"))
    with watching():
        wait_until(lambda: is_wanted(account))


def test_an_account_without_mailboxes_yet_becomes_due(account: Account) -> None:
    Account.objects.filter(pk=account.pk).update(next_sync_at=timezone.now() + timedelta(hours=1))
    with watching():
        wait_until(lambda: is_due(account))


def test_two_watchers_share_an_account_by_lease(account: Account) -> None:
    with watching() as first:
        wait_until(lambda: account.pk in first.listening)
        with watching() as second:
            wait_until(lambda: second.reloads > 2)
            assert not second.listening
    lease = Lease.objects.get(account=account, kind=LeaseKind.WATCH)
    assert lease.expires_at <= timezone.now()
    with watching() as third:
        wait_until(lambda: account.pk in third.listening)


def test_a_paused_account_is_let_go(account: Account) -> None:
    with watching() as watcher:
        wait_until(lambda: account.pk in watcher.listening)
        accounts.pause_sync(account_id=account.pk, paused=True)
        wait_until(lambda: account.pk not in watcher.listening)
        assert Lease.objects.get(kind=LeaseKind.WATCH).expires_at <= timezone.now()
        accounts.pause_sync(account_id=account.pk, paused=False)
        wait_until(lambda: account.pk in watcher.listening)


def test_refused_credentials_are_left_to_the_sync(account: Account) -> None:
    assert run_account_until_done(account.pk) is SliceEnd.DONE
    accounts.change_upstream(
        account_id=account.pk, host=account.host, port=account.port, username=account.username,
        tls_mode=TlsMode.PLAIN, auth_method=AuthMethod.LOGIN, secret="wrong",
    )  # fmt: skip
    Account.objects.filter(pk=account.pk).update(next_sync_at=timezone.now() + timedelta(hours=1))
    with watching() as watcher:
        wait_until(lambda: is_due(account))
        assert run_account_until_done(account.pk) is SliceEnd.FAILED
        wait_until(lambda: Lease.objects.get(kind=LeaseKind.WATCH).expires_at <= timezone.now())
        assert not watcher.listening
