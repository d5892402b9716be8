"""Bodies over connections of their own: beside the listing, independent of each other, nothing lost by a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from django.db import connections

from mailcache.models import Account, AccountState, Listing, Message
from sync.account_run import SliceEnd, run_account_until_done, run_slice
from sync.models import Checkpoint, ConnectionSlot, SyncOutcome, SyncRun
from sync.upstream.errors import ConnectFailed
from tests.builders import make_account
from tests.fakes.scripted_imap import Action, Answer
from tests.sync.mirror import mirrored
from tests.sync.several_connections import Gate, SeveralConnections, drops_bodies_of
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

Upstream = Callable[..., tuple[SeveralConnections, Account]]
_TOO_MANY = b"{tag} NO [ALERT] Too many simultaneous connections. (Failure)\r\n"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Start an upstream with so many messages, for an account with so many connections."""
    with ExitStack() as stack:

        def start(count: int, *, limit: int) -> tuple[SeveralConnections, Account]:
            server = stack.enter_context(SeveralConnections(count))
            account = make_account(port=server.port)
            Account.objects.filter(pk=account.pk).update(connection_limit=limit)
            return server, account

        yield start


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


def assert_all_is_here(server: SeveralConnections, account: Account) -> None:
    assert [data for data, _ in mirrored(account)["INBOX"]] == list(server.messages.values())
    assert not Listing.objects.exists()
    assert not ConnectionSlot.objects.exists()


class TestOverlap:
    def test_bodies_come_while_messages_are_still_listed(self, upstream: Upstream) -> None:
        """Field notes 18 and 19: the listing waits here until a body was asked for over another connection."""
        server, account = upstream(1100, limit=3)
        asked = Gate()

        def answer(number: int, name: str, command: bytes) -> Answer | None:
            if b"BODY.PEEK[]" in command and number > 1:
                asked.open()
            if b"RFC822.SIZE" in command and b"1100" in command.split(b" ")[2]:
                asked.wait()
            return None

        server.interfere = answer
        assert run_account_until_done(account.pk) is SliceEnd.DONE
        assert_all_is_here(server, account)
        assert server.bodies_over(2)
        assert sorted(server.fetched()) == sorted(server.messages)

    @pytest.mark.parametrize(("limit", "connections_used"), [(1, 1), (2, 1), (3, 2), (5, 4)])
    def test_as_many_as_the_table_says(self, upstream: Upstream, limit: int, connections_used: int) -> None:
        server, account = upstream(1500, limit=limit)
        meeting = threading.Barrier(max(1, connections_used - 1))

        def answer(number: int, name: str, command: bytes) -> Answer | None:
            if b"BODY.PEEK[]" in command and number > 1 and len(server.bodies_over(number)) == 1:
                meeting.wait(20)  # none of them does the work of all
            return None

        server.interfere = answer
        assert run_account_until_done(account.pk) is SliceEnd.DONE
        assert_all_is_here(server, account)
        assert server.connections == connections_used
        assert sorted(server.fetched()) == sorted(server.messages)
        run = SyncRun.objects.get()
        assert (run.bodies_added, run.outcome) == (1500, SyncOutcome.COMPLETED)
        assert run.commands == len(server.commands)

    def test_little_new_mail_needs_no_further_login(self, upstream: Upstream) -> None:
        server, account = upstream(20, limit=5)
        assert run_account_until_done(account.pk) is SliceEnd.DONE
        assert server.connections == 1
        assert_all_is_here(server, account)


class TestFailures:
    def test_what_a_connection_that_breaks_was_to_fetch_is_fetched_by_others(self, upstream: Upstream) -> None:
        """Field notes 7, 28 and G6: the second connection never delivers anything, and costs nothing."""
        server, account = upstream(700, limit=5)
        server.interfere = drops_bodies_of(2)
        assert run_account_until_done(account.pk) is SliceEnd.DONE
        assert_all_is_here(server, account)
        assert Message.objects.filter(content__isnull=False).count() == 700
        assert not Listing.objects.filter(attempts__gt=0).exists()

    def test_what_came_before_a_connection_broke_is_not_fetched_again(self, upstream: Upstream) -> None:
        """G8."""
        server, account = upstream(300, limit=1)
        broken: list[int] = []

        def answer(number: int, name: str, command: bytes) -> Answer | None:
            if b"BODY.PEEK[]" not in command or broken or not server.bodies_asked()[1:]:
                return None
            uid = int(command.split(b" ")[2].replace(b",", b":").split(b":")[0])
            broken.append(uid)
            data = server.messages[uid]
            return (b"* %d FETCH (UID %d BODY[] {%d}\r\n%s)\r\n" % (uid, uid, len(data), data), Action.DROP)

        server.interfere = answer
        assert run_account_until_done(account.pk) is SliceEnd.DONE
        assert_all_is_here(server, account)
        assert broken
        assert server.fetched().count(broken[0]) == 1

    def test_a_failure_is_shown_while_the_others_go_on(self, upstream: Upstream) -> None:
        """Field note 29: the run's row tells it before the listing has ended."""
        server, account = upstream(1100, limit=3)
        shown = Gate()

        def answer(number: int, name: str, command: bytes) -> Answer | None:
            if number > 1 and name == "EXAMINE":
                return Action.DROP
            if b"RFC822.SIZE" in command and b"1100" in command.split(b" ")[2]:
                shown.wait()
            return None

        server.interfere = answer
        worker = Slice(account)
        worker.start()
        wait_until(lambda: SyncRun.objects.filter(reason__contains="a connection for bodies failed").exists())
        assert SyncRun.objects.get().finished_at is None
        shown.open()
        worker.join(30)
        assert worker.end is SliceEnd.DONE
        assert_all_is_here(server, account)

    def test_connections_that_cannot_open_the_mailbox_stop_nobody(self, upstream: Upstream) -> None:
        """G7: they end, and the first connection fetches what they leave."""
        server, account = upstream(600, limit=5)
        server.interfere = lambda number, name, command: (
            b"{tag} NO [SERVERBUG] no such luck\r\n" if number > 1 and name == "EXAMINE" else None
        )
        assert run_account_until_done(account.pk) is SliceEnd.DONE
        assert_all_is_here(server, account)
        assert not Checkpoint.objects.filter(failures__gt=0).exists()

    def test_when_all_fail_the_first_fault_is_the_reason(self, upstream: Upstream) -> None:
        """Field notes 32 and 33: what came of it is told beside it."""
        server, account = upstream(600, limit=3)
        server.interfere = lambda number, name, command: (
            b"{tag} BAD first fault\r\n"
            if name == "EXAMINE" and number == 1
            else Action.DROP
            if number > 1 and name in {"LOGIN", "AUTHENTICATE"}
            else None
        )
        assert run_account_until_done(account.pk) is SliceEnd.FAILED
        account.refresh_from_db()
        assert account.state == AccountState.FAILING
        assert "first fault" in account.state_reason
        assert SyncRun.objects.get().outcome == SyncOutcome.FAILED

    def test_refused_credentials_of_a_further_connection_are_not_tried_again(self, upstream: Upstream) -> None:
        server, account = upstream(600, limit=5)
        server.interfere = lambda number, name, command: (
            b"{tag} NO [AUTHENTICATIONFAILED] no\r\n" if name == "LOGIN" and number > 1 else None
        )
        assert run_account_until_done(account.pk) is SliceEnd.DONE
        assert_all_is_here(server, account)
        assert len(server.asked(b"LOGIN")) == 4
        account.refresh_from_db()
        assert account.state == AccountState.ACTIVE

    def test_a_name_server_that_fails_for_a_moment_ends_no_run(
        self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Field note 6."""
        server, account = upstream(600, limit=1)
        server.interfere = drops_bodies_of(1)
        from sync.upstream.blocking import BlockingClient

        connect = BlockingClient.connect
        dialled: list[int] = []

        def unreliable(*arguments: object, **options: object) -> BlockingClient:
            dialled.append(1)
            if len(dialled) in (2, 3):
                raise ConnectFailed("name resolution failed: try again")
            return connect(*arguments, **options)  # type: ignore[arg-type] # passed on as they are

        monkeypatch.setattr(BlockingClient, "connect", unreliable)
        assert run_account_until_done(account.pk) is SliceEnd.DONE
        assert len(dialled) == 4
        assert SyncRun.objects.get().outcome == SyncOutcome.COMPLETED
        assert_all_is_here(server, account)


class TestCrowded:
    def test_an_upstream_that_allows_fewer_gets_fewer(
        self, upstream: Upstream, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Quirk 4 and field note 12: a warning that names the setting, fewer connections for a while, no failure."""
        server, account = upstream(1500, limit=5)
        server.interfere = lambda number, name, command: _TOO_MANY if name == "LOGIN" and number in (3, 4) else None
        assert run_account_until_done(account.pk) is SliceEnd.DONE
        assert_all_is_here(server, account)
        account.refresh_from_db()
        assert (account.state, account.failures) == (AccountState.ACTIVE, 0)
        assert account.crowded_limit == 2
        assert "UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT" in account.notice
        assert any("UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT" in record.message for record in caplog.records)

        before = server.connections
        server.messages |= dict(enumerate(server.messages.values(), 5000))
        assert run_account_until_done(account.pk) is SliceEnd.DONE
        assert server.connections == before + 1

    def test_without_a_free_connection_a_slice_waits_its_turn(self, upstream: Upstream) -> None:
        server, account = upstream(3, limit=1)
        ConnectionSlot.objects.create(
            account=account, host=account.host, purpose="replay", holder="another", expires_at="2999-01-01T00:00:00Z"
        )
        assert run_slice(account.pk, full=True) is SliceEnd.CROWDED
        account.refresh_from_db()
        assert (account.state, account.failures, server.connections) == (AccountState.ACTIVE, 0, 0)
        assert not SyncRun.objects.exists()
        ConnectionSlot.objects.all().delete()
        assert run_slice(account.pk, full=True) is SliceEnd.DONE
