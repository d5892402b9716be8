"""Leases: one holder at a time, and a holder that lost its lease can write nothing."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, transaction

from mailcache.errors import LeaseLost
from mailcache.models import Lease, LeaseKind
from mailcache.services import leases
from tests.builders import add_skeleton, make_account, make_fence, make_mailboxes, skeleton_row
from tests.locks import somebody_waits
from tests.waiting import wait_until


def _expire(account_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE mailcache_lease SET expires_at = now() - interval '1 s' WHERE account_id = %s", [account_id]
        )


@pytest.mark.django_db
class TestLease:
    def test_one_holder_at_a_time(self) -> None:
        account = make_account()
        first = leases.acquire(account_id=account.pk, kind=LeaseKind.SYNC, holder="a")

        assert first is not None
        assert leases.acquire(account_id=account.pk, kind=LeaseKind.SYNC, holder="b") is None
        assert leases.acquire(account_id=account.pk, kind=LeaseKind.WATCH, holder="b") is not None

    def test_released_is_free_at_once(self) -> None:
        account = make_account()
        fence = make_fence(account)

        leases.release(fence)

        assert leases.acquire(account_id=account.pk, kind=LeaseKind.SYNC, holder="b") is not None

    def test_taken_over_raises_the_generation_and_fences_the_old_holder(self) -> None:
        account = make_account()
        old = make_fence(account)
        (inbox,) = make_mailboxes(old)
        _expire(account.pk)
        new = leases.acquire(account_id=account.pk, kind=LeaseKind.SYNC, holder="test")

        assert new is not None
        assert new.generation == old.generation + 1
        with pytest.raises(LeaseLost):
            leases.renew(old)
        with pytest.raises(LeaseLost):
            add_skeleton(old, inbox, [skeleton_row(1)])
        assert add_skeleton(new, inbox, [skeleton_row(1)]) == 1

    def test_renewing_extends(self) -> None:
        account = make_account()
        fence = make_fence(account)
        _expire(account.pk)

        leases.renew(fence)

        assert leases.acquire(account_id=account.pk, kind=LeaseKind.SYNC, holder="b") is None

    def test_an_old_release_does_not_end_the_new_lease(self) -> None:
        account = make_account()
        old = make_fence(account)
        _expire(account.pk)
        leases.acquire(account_id=account.pk, kind=LeaseKind.SYNC, holder="b")

        leases.release(old)

        assert leases.acquire(account_id=account.pk, kind=LeaseKind.SYNC, holder="c") is None


@pytest.mark.django_db(transaction=True)
def test_taking_over_waits_for_a_transaction_that_checked_its_fence() -> None:
    account = make_account()
    fence = make_fence(account)
    _expire(account.pk)
    order: list[str] = []

    def take_over() -> None:
        leases.acquire(account_id=account.pk, kind=LeaseKind.SYNC, holder="b")
        order.append("taken over")
        connection.close()

    thread = threading.Thread(target=take_over)
    with transaction.atomic():
        leases.check(fence)
        thread.start()
        wait_until(somebody_waits)
        order.append("committing")
    thread.join(timeout=10)

    assert order == ["committing", "taken over"]
    assert Lease.objects.get(account=account).generation == 2
