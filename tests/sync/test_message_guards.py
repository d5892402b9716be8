"""Single messages that an upstream leaves out, refuses or chokes on: set aside, and no other waits for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest
from django.utils import timezone

from mailcache.models import Account, Listing, Message
from mailcache.wire.number_set import NumberSet
from sync.account_run import SliceEnd, run_account_until_done, run_slice
from sync.models import SyncRun
from tests.builders import make_account
from tests.sync.mirror import mirrored
from tests.sync.one_mailbox import OneMailbox

pytestmark = pytest.mark.django_db(transaction=True)

Upstream = Callable[[int], tuple[OneMailbox, Account]]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Start an upstream with so many messages; returns it and its account."""
    with ExitStack() as stack:

        def start(count: int) -> tuple[OneMailbox, Account]:
            server = stack.enter_context(OneMailbox(count))
            return server, make_account(port=server.port)

        yield start


def synced(account: Account) -> SyncRun:
    assert run_account_until_done(account.pk) is SliceEnd.DONE
    return SyncRun.objects.latest("started_at")


def bodies(account: Account) -> list[bytes]:
    return [data for data, _ in mirrored(account)["INBOX"]]


class TestMessages:
    def test_no_internaldate_is_taken_from_the_header(self, upstream: Upstream) -> None:
        server, account = upstream(3)
        server.without_date = {2}
        synced(account)
        dates = set(Message.objects.values_list("internal_date", flat=True))
        assert [date.isoformat() for date in dates] == ["2024-05-17T08:30:00+00:00"]

    @pytest.mark.parametrize("switch", ["without_body", "refuses_body"])
    def test_a_message_that_is_not_delivered_is_set_aside(self, upstream: Upstream, switch: str) -> None:
        server, account = upstream(6)
        setattr(server, switch, {4})
        run = synced(account)

        assert (run.bodies_added, run.bodies_parked, run.bodies_remaining) == (5, 1, 1)
        parked = Listing.objects.get()
        assert (parked.uid, parked.attempts) == (4, 1)
        assert parked.parked_reason
        account.refresh_from_db()
        assert parked.retry_at is not None
        assert abs(account.next_sync_at - parked.retry_at) < timedelta(seconds=1)

        # It is asked for again when its time has come, and not before.
        asked = len(server.bodies_asked())
        synced(account)
        assert len(server.bodies_asked()) == asked
        setattr(server, switch, set())
        Listing.objects.update(retry_at=timezone.now())
        synced(account)
        assert bodies(account) == list(server.messages.values())

    def test_an_upstream_that_delivers_nothing_is_not_messages_that_are_bad(self, upstream: Upstream) -> None:
        server, account = upstream(20)
        server.without_body = set(server.messages)
        assert run_account_until_done(account.pk) is not SliceEnd.MORE
        assert not Listing.objects.filter(retry_at__isnull=False).exists()
        assert len(server.bodies_asked()) < 10

    def test_a_message_at_which_the_connection_breaks_blocks_the_others_for_some_runs_only(
        self, upstream: Upstream
    ) -> None:
        server, account = upstream(5)
        server.drops_at_body = {3}
        ends = [run_account_until_done(account.pk) for _ in range(4)]

        assert ends[:2] == [SliceEnd.FAILED] * 2
        assert ends[-1] is SliceEnd.DONE
        assert list(Listing.objects.values_list("uid", flat=True)) == [3]
        assert Message.objects.filter(content__isnull=False).count() == 4

    def test_nothing_that_is_here_is_fetched_again(self, upstream: Upstream) -> None:
        server, account = upstream(5)
        synced(account)
        asked = len(server.bodies_asked())
        synced(account)
        synced(account)
        assert len(server.bodies_asked()) == asked

    def test_slices_fetch_every_body_once(self, upstream: Upstream) -> None:
        server, account = upstream(1200)
        server.without_body = {7}
        slices = 1
        end = run_slice(account.pk, full=True, seconds=0.0)
        while end is SliceEnd.MORE:
            slices += 1
            end = run_slice(account.pk, seconds=0.0)
        assert end is SliceEnd.DONE
        assert slices > 5
        asked = [NumberSet.parse(command.split(b" ")[2]) for command in server.bodies_asked()]
        assert sum(len(uids) for uids in asked) == 1201
        assert len(NumberSet(pair for uids in asked for pair in uids.ranges)) == 1200

    def test_an_unchanged_mailbox_costs_one_command(self, upstream: Upstream) -> None:
        server, account = upstream(2000)
        synced(account)
        first = [command.split(b" ")[0] for command in server.commands]
        # 2000 / 500 for the skeleton, and batches of bodies by number.
        assert len(server.asked(b"UID FETCH")) - len(server.bodies_asked()) == 4
        assert len(server.bodies_asked()) <= 6
        assert first.count(b"EXAMINE") == 1

        server.commands.clear()
        synced(account)
        work = [command for command in server.commands if command.split(b" ")[0] in (b"EXAMINE", b"UID", b"LIST")]
        assert len(work) == 2
        assert max(len(command) for command in server.commands) < 8000
