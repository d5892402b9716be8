"""The heartbeat: keeps the lease, ends the slice when that is lost or the account is paused, frees a parked read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.utils import timezone

from mailcache.models import Account, Lease, LeaseKind, Message
from mailcache.services import accounts, leases
from sync.account_run import SliceEnd, run_slice
from sync.heartbeat import Heartbeat
from sync.models import SyncOutcome, SyncRun
from tests.builders import make_account, make_fence
from tests.sync.one_mailbox import OneMailbox
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.heartbeat.RENEW_SECONDS", 0.05)


@pytest.fixture
def server() -> Iterator[OneMailbox]:
    with OneMailbox(3) as server:
        yield server


def take_over(account: Account) -> None:
    """Do what happens to a worker that was suspended for longer than its lease."""
    with transaction.atomic():  # or its heartbeat would come between
        Lease.objects.filter(account=account).update(expires_at=timezone.now() - timedelta(seconds=1))
        assert leases.acquire(account_id=account.pk, kind=LeaseKind.SYNC, holder="another") is not None


class Slice(threading.Thread):
    """A slice in a thread, as a worker would run it."""

    def __init__(self, account: Account) -> None:
        super().__init__()
        self._account = account
        self.end: SliceEnd | None = None

    def run(self) -> None:
        try:
            self.end = run_slice(self._account.pk, full=True)
        finally:
            connections.close_all()


def test_the_lease_is_renewed() -> None:
    account = make_account()
    fence = make_fence(account)
    expires_at = Lease.objects.get().expires_at
    beats: list[int] = []
    with Heartbeat(fence, on_beat=lambda: beats.append(1), abort=lambda: None) as heartbeat:
        wait_until(lambda: len(beats) > 1)
        assert not heartbeat.must_stop()
    assert Lease.objects.get().expires_at > expires_at


def test_a_lost_lease_is_told_once() -> None:
    account = make_account()
    fence = make_fence(account)
    lost: list[int] = []
    with Heartbeat(fence, on_beat=lambda: None, abort=lambda: lost.append(1)) as heartbeat:
        take_over(account)
        wait_until(heartbeat.must_stop)
    assert lost == [1]


def test_a_worker_that_waits_for_a_silent_upstream_lets_go_when_its_lease_is_lost(server: OneMailbox) -> None:
    account = make_account(port=server.port)
    server.hangs_at_body = {2}
    worker = Slice(account)
    worker.start()
    wait_until(lambda: server.bodies_asked())
    take_over(account)
    worker.join(20)

    assert worker.end is SliceEnd.LOST
    assert Message.objects.count() == 3
    account.refresh_from_db()
    assert account.failures == 0
    # The run is the new holder's to continue.
    assert SyncRun.objects.get().finished_at is None


def test_a_paused_account_stops_at_its_next_commit_point(server: OneMailbox) -> None:
    account = make_account(port=server.port)
    fence = make_fence(account)
    with Heartbeat(fence, on_beat=lambda: None, abort=lambda: None) as heartbeat:
        accounts.pause_sync(account_id=account.pk, paused=True)
        wait_until(heartbeat.must_stop)


def test_a_slice_of_a_paused_account_is_recorded_as_stopped(
    server: OneMailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = make_account(port=server.port)

    def paused_meanwhile(heartbeat: Heartbeat) -> bool:
        return True

    monkeypatch.setattr(Heartbeat, "must_stop", paused_meanwhile)
    assert run_slice(account.pk, full=True) is SliceEnd.STOPPED
    run = SyncRun.objects.get()
    assert (run.outcome, run.finished_at is not None) == (SyncOutcome.STOPPED, True)


def test_counters_are_live(server: OneMailbox) -> None:
    account = make_account(port=server.port)
    server.hangs_at_body = {2}
    worker = Slice(account)
    worker.start()
    try:
        wait_until(lambda: SyncRun.objects.filter(messages_added=3, commands__gt=3, bodies_remaining=3).exists())
    finally:
        take_over(account)
        worker.join(20)
