"""Connections counted across the fleet: never one too many, given back by a crash, shared as the design says."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, connections, transaction
from pytest_django import Settings

from mailcache.models import Account
from sync.models import ConnectionSlot, Purpose, UpstreamHost
from sync.profiles import BY_NAME, GENERIC
from sync.services.slots import (
    SLOT_SECONDS,
    Slot,
    acquire_slot,
    connection_limits,
    release_slot,
    renew_slots,
)
from sync.services.upstream_notes import note_crowded
from tests.builders import make_account
from tests.locks import somebody_waits
from tests.waiting import wait_until

HOST = "imap.example.test"


def acquire(
    account: Account,
    purpose: Purpose = Purpose.SYNC,
    *,
    limit: int = 2,
    host_limit: int | None = None,
    holder: str = "a",
) -> Slot | None:
    return acquire_slot(
        account_id=account.pk, host=HOST, purpose=purpose, holder=holder, account_limit=limit, host_limit=host_limit
    )


def lapse(slot: Slot) -> None:
    """Do what thirty seconds without a renewal do."""
    ConnectionSlot.objects.filter(pk=slot.id).update(expires_at="2020-01-01T00:00:00Z")


@pytest.mark.django_db
class TestSlots:
    def test_an_account_gets_as_many_as_it_may_have(self) -> None:
        account = make_account()
        assert acquire(account, Purpose.WATCH) is not None
        first = acquire(account)
        assert first is not None
        assert acquire(account) is None
        assert acquire(make_account()) is not None
        release_slot(first)
        assert acquire(account) is not None

    def test_a_host_limit_counts_all_accounts(self) -> None:
        taken = [acquire(make_account(), limit=1, host_limit=3) for _ in range(4)]
        assert [slot is not None for slot in taken] == [True, True, True, False]
        assert UpstreamHost.objects.get().name == HOST

    def test_a_slot_lasts_as_long_as_a_lease_by_the_clock_of_the_database(self) -> None:
        slot = acquire(make_account())
        assert slot is not None
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT extract(epoch FROM expires_at - clock_timestamp()) FROM sync_connectionslot WHERE id = %s",
                [slot.id],
            )
            assert 0 < float(cursor.fetchone()[0]) <= SLOT_SECONDS

    def test_a_crash_gives_its_slots_back(self) -> None:
        account = make_account()
        slot = acquire(account, limit=1)
        assert slot is not None
        assert acquire(account, limit=1) is None
        lapse(slot)
        assert acquire(account, limit=1, holder="b") is not None
        assert ConnectionSlot.objects.count() == 1

    def test_one_statement_renews_all_slots_of_a_holder(self) -> None:
        slots = [acquire(make_account()) for _ in range(3)]
        other = acquire(make_account(), holder="b")
        before = dict(ConnectionSlot.objects.values_list("pk", "expires_at"))
        assert renew_slots(holder="a") == {slot.id for slot in slots if slot}
        after = dict(ConnectionSlot.objects.values_list("pk", "expires_at"))
        assert other is not None
        assert {pk for pk in after if after[pk] > before[pk]} == {slot.id for slot in slots if slot}

    def test_what_has_lapsed_cannot_be_renewed(self) -> None:
        slot = acquire(make_account())
        assert slot is not None
        lapse(slot)
        assert renew_slots(holder="a") == set()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limited", ["account", "host"])
def test_two_workers_cannot_both_take_the_last_one(limited: str) -> None:
    first = make_account()
    second = first if limited == "account" else make_account()
    host_limit = 1 if limited == "host" else None
    found: list[Slot | None] = []

    def other_worker() -> None:
        found.append(acquire(second, limit=1, host_limit=host_limit, holder="b"))
        connections.close_all()

    thread = threading.Thread(target=other_worker)
    with transaction.atomic():
        assert acquire(first, limit=1, host_limit=host_limit) is not None
        thread.start()
        wait_until(somebody_waits)
        assert found == []
    thread.join(20)
    assert found == [None]


@pytest.mark.django_db
class TestLimits:
    def test_the_setting_the_account_and_the_profile(self, settings: Settings) -> None:
        account = make_account(host=HOST)
        assert connection_limits(account, GENERIC) == (2, None)
        account.connection_limit = 9
        assert connection_limits(account, GENERIC) == (9, None)
        assert connection_limits(account, BY_NAME["gmail"]) == (5, None)
        settings.UPSTREAM_CONNECTION_LIMIT_PER_HOST = 50
        assert connection_limits(account, GENERIC) == (9, 50)
        UpstreamHost.objects.create(name=HOST, connection_limit=10)
        assert connection_limits(account, GENERIC) == (9, 10)

    def test_an_upstream_that_refuses_one_more_is_left_with_fewer_for_a_while(self) -> None:
        account = make_account(host=HOST)
        account.connection_limit = 5
        account.save()
        taken = [acquire(account, limit=5) for _ in range(4)]
        refused = [slot for slot in taken[2:] if slot]
        # Both were dialling: the first that gives way cannot know that the other one is refused as well.
        assert [note_crowded(slot=slot, reason="Too many simultaneous connections") for slot in refused] == [3, 2]
        account.refresh_from_db()
        assert connection_limits(account, GENERIC).account == 2
        assert "UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT" in account.notice
        assert ConnectionSlot.objects.filter(account=account).count() == 2
        Account.objects.update(crowded_until="2020-01-01T00:00:00Z")
        account.refresh_from_db()
        assert connection_limits(account, GENERIC).account == 5

    def test_a_refusal_without_others_leaves_the_limit_alone(self) -> None:
        account = make_account(host=HOST)
        slot = acquire(account)
        assert slot is not None
        assert note_crowded(slot=slot, reason="Too many simultaneous connections") == 0
        account.refresh_from_db()
        assert (account.crowded_limit, account.notice) == (None, "")
