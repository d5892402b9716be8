"""Which bodies are fetched ahead: the account's policy, its quota, its budget for the day; and who put them aside."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta

import pytest
from django.utils import timezone

from mailcache.models import Account, BodyPolicy, Listing, Message
from sync.account_run import SliceEnd, run_account_until_done
from sync.models import SyncOutcome, SyncRun, UpstreamUsage
from sync.services.usage import received_on, record_usage
from sync.upstream.values import CommandUsage
from tests.builders import make_account
from tests.sync.mirror import mirrored
from tests.sync.several_connections import SeveralConnections

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server() -> Iterator[SeveralConnections]:
    with SeveralConnections(6) as server:
        yield server


def account_at(server: SeveralConnections, **values: object) -> Account:
    account = make_account(port=server.port)
    Account.objects.filter(pk=account.pk).update(**values)
    account.refresh_from_db()
    return account


def synced(account: Account) -> SyncRun:
    assert run_account_until_done(account.pk) is SliceEnd.DONE
    account.refresh_from_db()
    return SyncRun.objects.latest("started_at")


def bodies_here() -> list[int]:
    return list(Message.objects.filter(content__isnull=False).order_by("uid").values_list("uid", flat=True))


def headers_here() -> int:
    return Listing.objects.filter(header__isnull=False).count()


def retry() -> None:
    """Let what was set aside be asked for again."""
    assert Listing.objects.filter(retry_at__isnull=False).update(retry_at=timezone.now()) == 1


class TestPolicies:
    def test_on_demand_fetches_headers_and_what_somebody_waits_for(self, server: SeveralConnections) -> None:
        account = account_at(server, body_policy=BodyPolicy.ON_DEMAND)
        synced(account)
        assert (bodies_here(), headers_here(), server.bodies_asked()) == ([], 6, [])

        Listing.objects.filter(uid=2).update(wanted_at=timezone.now())
        run = synced(account)
        assert (bodies_here(), run.outcome) == ([2], SyncOutcome.COMPLETED)
        assert server.fetched() == [2]

    def test_what_was_set_aside_and_may_not_be_fetched_asks_for_no_sync(self, server: SeveralConnections) -> None:
        account = account_at(server, body_policy=BodyPolicy.ON_DEMAND)
        synced(account)
        Listing.objects.filter(uid=2).update(retry_at=timezone.now(), parked_reason="the upstream was away")
        synced(account)
        account.refresh_from_db()
        assert account.next_sync_at > timezone.now() + timedelta(minutes=30)

    def test_recent_fetches_what_is_young(self, server: SeveralConnections, monkeypatch: pytest.MonkeyPatch) -> None:
        account = account_at(server, body_policy=BodyPolicy.RECENT, body_days=30)
        synced(account)  # all messages of this server are from 2024
        assert (bodies_here(), headers_here()) == ([], 6)

        now = timezone.now()
        Message.objects.filter(uid__in=[3, 5]).update(internal_date=now - timedelta(days=29))
        Message.objects.filter(uid=4).update(internal_date=now - timedelta(days=31))
        Listing.objects.filter(uid=1).update(wanted_at=now)
        synced(account)
        assert bodies_here() == [1, 3, 5]
        assert server.fetched()[0] == 1

    def test_all_fetches_everything(self, server: SeveralConnections) -> None:
        synced(account_at(server))
        assert bodies_here() == [1, 2, 3, 4, 5, 6]


class TestBudget:
    def test_bodies_wait_for_the_next_day_when_the_budget_is_used(self, server: SeveralConnections) -> None:
        account = account_at(server, daily_bytes=5_000)
        run = synced(account)
        # The newest two or three fill it; all messages are listed, with their headers.
        here = bodies_here()
        assert here == [5, 6] or here == [4, 5, 6]
        assert (run.messages_added, run.outcome) == (6, SyncOutcome.COMPLETED)
        assert headers_here() == 6 - len(here)
        assert "budget" in account.notice
        midnight = datetime.combine(timezone.now().date() + timedelta(days=1), time(), tzinfo=UTC)
        assert account.next_sync_at <= timezone.now() + timedelta(hours=1.2)
        assert account.next_sync_at <= midnight + timedelta(minutes=11)

        asked = len(server.bodies_asked())
        server.messages[7] = server.messages[6]
        assert synced(account).messages_added == 1
        assert len(server.bodies_asked()) == asked

        UpstreamUsage.objects.update(day=timezone.now().date() - timedelta(days=1))
        Account.objects.update(daily_bytes=1_000_000)
        synced(account)
        assert len(bodies_here()) == 7
        assert account.notice == ""

    def test_what_a_client_waits_for_is_fetched_all_the_same(self, server: SeveralConnections) -> None:
        account = account_at(server, daily_bytes=1)
        synced(account)
        before = bodies_here()
        Listing.objects.filter(uid=1).update(wanted_at=timezone.now())
        synced(account)
        assert bodies_here() == [1, *before]

    def test_over_quota_metadata_goes_on(self, server: SeveralConnections) -> None:
        account = account_at(server, quota_bytes=1_000, used_bytes=1_000)
        run = synced(account)
        assert (run.messages_added, bodies_here(), headers_here()) == (6, [], 6)
        assert "quota" in account.notice
        assert account.next_sync_at > timezone.now() + timedelta(minutes=30)


class TestUsage:
    def test_a_run_records_what_it_received(self, server: SeveralConnections) -> None:
        account = account_at(server)
        run = synced(account)
        today = timezone.now().date()
        rows = UpstreamUsage.objects.filter(account=account, day=today)
        assert sum(rows.values_list("commands", flat=True)) == run.commands == len(server.commands)
        assert received_on(account_id=account.pk, day=today) == run.bytes_in
        assert rows.get(kind="UID FETCH").bytes_in > 6 * 2048

    def test_usage_adds_up(self) -> None:
        account = make_account()
        today = timezone.now().date()
        for _ in range(2):
            usage = {"UID FETCH": CommandUsage(1, 20, 3), "NOOP": CommandUsage()}
            record_usage(account_id=account.pk, day=today, by_command=usage)
        row = UpstreamUsage.objects.get()
        assert (row.kind, row.commands, row.bytes_in, row.bytes_out) == ("UID FETCH", 2, 40, 6)


class TestParked:
    def test_another_message_than_was_asked_for_is_not_taken(self, server: SeveralConnections) -> None:
        """Quirk 26: asked for once more, then put aside with the reason."""
        account = account_at(server, profile="yahoo")
        right = server.messages[3]
        listed: list[int] = []

        def answer(number: int, name: str, command: bytes) -> None:
            if b"[HEADER]" in command:
                listed.append(1)
            server.messages[3] = server.messages[4] if listed and b"BODY.PEEK[]" in command else right

        server.interfere = answer
        run = synced(account)
        assert listed
        assert (bodies_here(), run.bodies_parked) == ([1, 2, 4, 5, 6], 1)
        listing = Listing.objects.get()
        assert (listing.uid, listing.attempts, "another message" in listing.parked_reason) == (3, 1, True)
        assert server.fetched().count(3) == 2

        server.interfere = lambda number, name, command: None
        server.messages[3] = right
        retry()
        synced(account)
        assert [data for data, _ in mirrored(account)["INBOX"]] == list(server.messages.values())

    def test_one_refused_among_many_costs_few_commands(self) -> None:
        """Quirks 16 and 43: halves, not each message by itself."""
        with SeveralConnections(100) as server:
            account = account_at(server)
            server.refuses_body = {50}
            run = synced(account)
            assert (len(bodies_here()), run.bodies_parked) == (99, 1)
            assert len(server.bodies_asked()) < 25
            assert "cannot read that one" in Listing.objects.get().parked_reason

    def test_what_was_parked_is_fetched_alone_and_breaks_nothing_else(self, server: SeveralConnections) -> None:
        account = account_at(server)
        server.without_body = {3}
        synced(account)
        server.drops_at_body = {3}
        server.messages |= {7: server.messages[1], 8: server.messages[2]}
        retry()
        run = synced(account)
        assert (run.outcome, run.bodies_parked, bodies_here()) == (SyncOutcome.COMPLETED, 1, [1, 2, 4, 5, 6, 7, 8])
        assert Listing.objects.get().attempts == 2
