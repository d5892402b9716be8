"""No account delays another: what keeps a worker waiting goes to workers of its own, and is no failure."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from mailcache.models import AccountState, Listing, Message
from sync import lanes, scheduling, stopping
from sync.account_run import SliceEnd, run_slice
from sync.lanes import Lane, slow_accounts
from sync.models import ConnectionSlot, SyncOutcome, SyncRun, UpstreamHost
from sync.services.upstream_notes import note_slow
from sync.upstream.endpoint import Deadlines
from tests.builders import make_account
from tests.fakes.scripted_imap import Action, ScriptedImap
from tests.sync.mirror import mirrored
from tests.sync.one_mailbox import OneMailbox
from tests.sync.several_connections import SeveralConnections
from tests.sync.workers import Fleet
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the fast lane lose its patience in fractions of seconds."""
    fast = Deadlines(connect=0.5, tls=0.5, greeting=0.5, login=0.5, inactivity=0.5)
    monkeypatch.setitem(lanes._DEADLINES, Lane.FAST, fast)


@pytest.fixture(autouse=True)
def stop_is_forgotten() -> Iterator[None]:
    yield
    stopping.forget()


def test_the_fast_lane_is_impatient_and_the_slow_one_is_not() -> None:
    slow = Lane.SLOW.deadlines
    assert (slow.login, slow.command) == (180.0, 600.0)


class TestFairness:
    def test_stuck_accounts_do_not_delay_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two slots, four accounts whose upstream never answers, fifty small ones behind them."""
        fleet = Fleet(monkeypatch)
        with ScriptedImap(greeting=Action.HANG) as silent, OneMailbox(2) as server:
            stuck = [make_account(host="127.0.0.1", port=silent.port) for _ in range(4)]
            # Another name of the same machine: the host of the stuck ones is slow, not the one of the others.
            small = [make_account(host="localhost", port=server.port) for _ in range(50)]
            for account in [*stuck, *small]:
                scheduling.enqueue(account.pk, full=True)
            fleet.work(Lane.FAST, slots=2, seconds=5.0)

        assert all(fleet.ends_of(account.pk) == [SliceEnd.DONE] for account in small)
        assert all(fleet.ends_of(account.pk) == [SliceEnd.SLOW] for account in stuck)
        assert sorted(account_id for account_id, _ in fleet.queues["bulk"]) == sorted(a.pk for a in stuck)
        for account in stuck:
            account.refresh_from_db()
            assert (account.state, account.failures) == (AccountState.ACTIVE, 0)
            assert account.slow_until is not None
        assert not ConnectionSlot.objects.exists()

    def test_a_huge_account_is_worked_on_in_turns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fleet = Fleet(monkeypatch)
        with OneMailbox(2) as server, SeveralConnections(3000) as large:
            huge = make_account(port=large.port)
            small = [make_account(port=server.port) for _ in range(50)]
            for account in [huge, *small]:
                scheduling.enqueue(account.pk, full=True)
            fleet.work(Lane.FAST, slots=2, seconds=0.1)

        ended = [account_id for account_id, end in fleet.ends if end is SliceEnd.DONE]
        assert sorted(ended) == sorted(account.pk for account in [huge, *small])
        assert ended[-1] == huge.pk
        assert len(fleet.ends_of(huge.pk)) > 3
        assert Message.objects.filter(account=huge, content__isnull=False).count() == 3000
        assert set(SyncRun.objects.values_list("outcome", flat=True)) == {SyncOutcome.COMPLETED}

    def test_the_slow_lane_finishes_what_the_fast_one_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Field note 10: a slow login is no dead account."""
        fleet = Fleet(monkeypatch)
        hurry = threading.Event()
        with SeveralConnections(3) as server:

            def answer(number: int, name: str, command: bytes) -> None:
                if name == "LOGIN":
                    hurry.wait(20)

            server.interfere = answer
            account = make_account(port=server.port)
            scheduling.enqueue(account.pk, full=True)
            fleet.work(Lane.FAST, slots=1, seconds=5.0)
            assert fleet.ends_of(account.pk) == [SliceEnd.SLOW]
            assert SyncRun.objects.get().finished_at is None
            threading.Timer(0.7, hurry.set).start()
            fleet.work(Lane.SLOW, slots=1, seconds=5.0)
        assert fleet.ends_of(account.pk) == [SliceEnd.SLOW, SliceEnd.DONE]
        run = SyncRun.objects.get()
        assert (run.outcome, run.slices) == (SyncOutcome.COMPLETED, 2)

    def test_in_the_slow_lane_silence_is_a_failure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(lanes._DEADLINES, Lane.SLOW, Deadlines(greeting=0.3))
        with ScriptedImap(greeting=Action.HANG) as silent:
            account = make_account(port=silent.port)
            assert run_slice(account.pk, full=True, lane=Lane.SLOW) is SliceEnd.FAILED
        account.refresh_from_db()
        assert (account.state, account.failures) == (AccountState.FAILING, 1)


class TestLateSlices:
    @pytest.mark.parametrize("lane", list(Lane))
    def test_a_command_that_still_brings_messages_is_cut_between_two(
        self, monkeypatch: pytest.MonkeyPatch, lane: Lane
    ) -> None:
        """What came is kept, the next slice goes on behind it."""
        monkeypatch.setattr("sync.account_run._CUT_AFTER", -30.0)
        with SeveralConnections(40) as server:
            account = make_account(port=server.port)
            assert run_slice(account.pk, full=True, lane=lane) is SliceEnd.MORE
            assert Message.objects.filter(content__isnull=False).count() == 1
            monkeypatch.setattr("sync.account_run._CUT_AFTER", 5.0)
            assert run_slice(account.pk, lane=lane) is SliceEnd.DONE
            assert [data for data, _ in mirrored(account)["INBOX"]] == list(server.messages.values())
            assert len(SyncRun.objects.all()) == 1

    def test_a_slice_that_is_stuck_is_ended_by_its_heartbeat(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(lanes._DEADLINES, Lane.FAST, Deadlines())
        monkeypatch.setattr("sync.account_run._END_AFTER", 0.0)
        with OneMailbox(3) as server:
            server.hangs_at_body = {2}
            account = make_account(port=server.port)
            assert run_slice(account.pk, full=True, lane=Lane.FAST, seconds=0.5) is SliceEnd.SLOW
        account.refresh_from_db()
        assert (account.failures, slow_accounts([account.pk], timezone.now())) == (0, {account.pk})
        assert not ConnectionSlot.objects.exists()


class TestChoice:
    def test_several_slow_accounts_make_a_slow_host(self) -> None:
        accounts = [make_account(host="imap.example.test") for _ in range(4)]
        other = make_account(host="imap.example.org")
        everybody = [account.pk for account in [*accounts, other]]
        for account in accounts[:2]:
            note_slow(account_id=account.pk, host=account.host)
        assert slow_accounts(everybody, timezone.now()) == {account.pk for account in accounts[:2]}
        note_slow(account_id=accounts[2].pk, host="IMAP.example.test")
        assert slow_accounts(everybody, timezone.now()) == {account.pk for account in accounts}
        assert UpstreamHost.objects.get().name == "imap.example.test"
        assert slow_accounts(everybody, timezone.now() + timedelta(hours=1)) == set()

    def test_tasks_of_slow_accounts_go_to_their_own_queue(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fleet = Fleet(monkeypatch)
        account = make_account()
        note_slow(account_id=account.pk, host=account.host)
        scheduling.enqueue(account.pk, full=True, urgent=True)
        scheduling.enqueue_due_syncs()
        assert {name: len(queue) for name, queue in fleet.queues.items()} == {"urgent": 0, "sync": 0, "bulk": 2}

    def test_a_worker_of_the_fast_lane_does_not_touch_a_slow_account(self) -> None:
        account = make_account()
        note_slow(account_id=account.pk, host=account.host)
        assert run_slice(account.pk, full=True, lane=Lane.FAST) is SliceEnd.SLOW
        assert not SyncRun.objects.exists()


class TestStopping:
    def test_a_worker_that_is_stopped_hands_over_at_once(self) -> None:
        """Field note 36: the run is marked, lease and slots are free, and the account is due."""
        with SeveralConnections(600) as server:
            account = make_account(port=server.port)
            server.interfere = lambda number, name, command: (
                stopping.request_stop() if b"RFC822.SIZE" in command else None
            )
            assert run_slice(account.pk, full=True, lane=Lane.FAST) is SliceEnd.INTERRUPTED
            run = SyncRun.objects.get()
            assert (run.outcome, run.finished_at) == (SyncOutcome.INTERRUPTED, None)
            assert run.reason
            assert not ConnectionSlot.objects.exists()
            assert 0 < Message.objects.count() < 600

            stopping.forget()
            server.interfere = lambda number, name, command: None
            (due,) = scheduling.claim_due(now=timezone.now())
            assert (due.account_id, due.is_continued) == (account.pk, True)
            assert run_slice(account.pk, lane=Lane.FAST) is SliceEnd.DONE
            run.refresh_from_db()
            assert (run.outcome, run.slices, run.reason) == (SyncOutcome.COMPLETED, 2, "")
            assert not Listing.objects.exists()

    def test_one_that_waits_for_its_upstream_is_freed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sync.heartbeat._STOP_SECONDS", 0.0)
        with OneMailbox(3) as server:
            server.hangs_at_body = {2}
            account = make_account(port=server.port)
            ends: list[SliceEnd] = []

            def work() -> None:
                ends.append(run_slice(account.pk, full=True))
                connections.close_all()

            worker = threading.Thread(target=work)
            worker.start()
            wait_until(server.bodies_asked)
            stopping.request_stop()
            worker.join(20)
        assert ends == [SliceEnd.INTERRUPTED]
        account.refresh_from_db()
        assert (account.failures, SyncRun.objects.get().outcome) == (0, SyncOutcome.INTERRUPTED)
