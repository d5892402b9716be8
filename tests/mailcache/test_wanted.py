"""Wants: marks on messages whose bytes are not here, seen by whoever answers for the account."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from mailcache import wakeup
from mailcache.errors import LeaseLost
from mailcache.generations import generation_table
from mailcache.models import LeaseKind, Listing, Mailbox
from mailcache.reads.mailboxes import Scope
from mailcache.reads.pool import make_pool
from mailcache.reads.wants import Want, load_wants
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.services.wanted import (
    WANT_SECONDS,
    GivenUp,
    accounts_wanting,
    forget_old_wants,
    give_up,
    want_bodies,
)
from tests.builders import (
    add_bodies,
    add_skeleton,
    make_account,
    make_fence,
    make_mailboxes,
    message_bytes,
    skeleton_row,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def inbox() -> Mailbox:
    """An INBOX with messages 1 to 4, of which 1 has its bytes here."""
    fence = make_fence(make_account())
    (inbox,) = make_mailboxes(fence)
    data = message_bytes()
    add_skeleton(fence, inbox, [skeleton_row(uid, size=len(data)) for uid in range(1, 5)])
    add_bodies(fence, inbox, {1: data})
    return inbox


def fence_of(mailbox: Mailbox) -> Fence:
    return Fence(mailbox.account_id, LeaseKind.SYNC, "test", 1)


def want(mailbox: Mailbox, *uids: int) -> int:
    return want_bodies(user_id=mailbox.account.user_id, mailbox_id=mailbox.pk, uids=uids)


def wanted() -> set[int]:
    return set(Listing.objects.filter(wanted_at__isnull=False).values_list("uid", flat=True))


def test_only_what_is_not_here_is_marked_by_one_statement(
    inbox: Mailbox, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    user_id = inbox.account.user_id
    with django_assert_num_queries(4):  # savepoint, how to commit, statement, release
        assert want_bodies(user_id=user_id, mailbox_id=inbox.pk, uids=[1, 2, 4, 99]) == 2
    assert wanted() == {2, 4}


def test_a_mark_is_not_made_twice(inbox: Mailbox) -> None:
    want(inbox, 2)
    first = Listing.objects.get(uid=2).wanted_at
    assert want(inbox, 2, 3) == 1
    assert Listing.objects.get(uid=2).wanted_at == first


def test_nobody_wants_what_is_anothers(inbox: Mailbox) -> None:
    stranger = make_account().user_id
    assert want_bodies(user_id=stranger, mailbox_id=inbox.pk, uids=[2]) == 0
    assert not wanted()


def test_bytes_that_come_end_the_want_and_are_announced(
    inbox: Mailbox, django_capture_on_commit_callbacks: object
) -> None:
    want(inbox, 2, 3)
    before = generation_table().read_bodies(inbox.account_id)
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]  # pytest-django has no type for it
        add_bodies(fence_of(inbox), inbox, {2: message_bytes("two")})
    assert wanted() == {3}
    assert generation_table().read_bodies(inbox.account_id) != before


def test_giving_up_sets_aside_with_a_reason_and_is_announced(
    inbox: Mailbox, django_capture_on_commit_callbacks: object
) -> None:
    want(inbox, 2, 3)
    retry_at = timezone.now() + timedelta(minutes=5)
    messages = [
        GivenUp(listing.remote_id, retry_at) for listing in Listing.objects.filter(uid__in=[2, 3]).order_by("uid")
    ]
    before = generation_table().read_bodies(inbox.account_id)
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]  # pytest-django has no type for it
        give_up(fence=fence_of(inbox), messages=messages[:1], reason="it says no", blame=True)
        give_up(fence=fence_of(inbox), messages=messages[1:], reason="the mailbox is locked", blame=False)
    rows = Listing.objects.filter(uid__in=[2, 3]).order_by("uid").values_list("parked_reason", "attempts", "retry_at")
    assert list(rows) == [("it says no", 1, retry_at), ("the mailbox is locked", 0, retry_at)]
    assert not wanted()
    assert generation_table().read_bodies(inbox.account_id) != before


def test_who_lost_the_account_gives_nothing_up(inbox: Mailbox) -> None:
    want(inbox, 2)
    lost = Fence(inbox.account_id, LeaseKind.WATCH, "somebody else", 1)
    with pytest.raises(LeaseLost):
        give_up(fence=lost, messages=[], reason="", blame=False)


def test_what_was_given_up_can_be_wanted_again(inbox: Mailbox) -> None:
    Listing.objects.filter(uid=2).update(parked_reason="no", retry_at=timezone.now() + timedelta(hours=1))
    assert want(inbox, 2) == 1


def test_the_holder_of_the_watch_lease_answers(inbox: Mailbox) -> None:
    assert accounts_wanting() == {}
    want(inbox, 2, 3)
    assert accounts_wanting() == {inbox.account_id: None}
    fence = leases.acquire(account_id=inbox.account_id, kind=LeaseKind.WATCH, holder="a watcher")
    assert fence is not None
    assert accounts_wanting() == {inbox.account_id: "a watcher"}
    leases.release(fence)
    assert accounts_wanting() == {inbox.account_id: None}


def test_old_wants_are_forgotten(inbox: Mailbox) -> None:
    want(inbox, 2, 3)
    Listing.objects.filter(uid=2).update(wanted_at=timezone.now() - timedelta(seconds=WANT_SECONDS + 1))
    assert forget_old_wants() == 1
    assert wanted() == {3}


def test_looking_for_wants_reads_only_their_index(inbox: Mailbox) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN SELECT DISTINCT account_id FROM mailcache_listing WHERE wanted_at IS NOT NULL")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "listing_wanted" in plan


@pytest.mark.django_db(transaction=True)
def test_how_wants_fare(inbox: Mailbox) -> None:
    want(inbox, 2)
    later = timezone.now() + timedelta(hours=1)
    Listing.objects.filter(uid=3).update(parked_reason="it says no", retry_at=later)
    user_id = inbox.account.user_id

    async def ask(user_id: int) -> dict[int, Want]:
        async with make_pool(size=1) as pool:
            return await load_wants(pool, Scope(user_id), inbox.pk, [1, 2, 3, 4, 99])

    assert asyncio.run(ask(user_id)) == {
        1: Want(1, False, ""), 2: Want(2, True, ""), 3: Want(3, False, "it says no"), 4: Want(4, False, ""),
    }  # fmt: skip
    assert asyncio.run(ask(user_id + 1)) == {}


async def test_watchers_hear_of_wants_and_frontends_of_arrivals() -> None:
    wakeup._publisher.cache_clear()
    wants, news = wakeup.listen_for_wants(), wakeup.listen()
    want, arrival = asyncio.ensure_future(anext(wants)), asyncio.ensure_future(anext(news))
    while not (want.done() and arrival.done()):
        await sync_to_async(wakeup.publish_want)(42)
        await sync_to_async(wakeup.publish_arrival)(43)
        await asyncio.wait([want, arrival], timeout=0.02)
    assert want.result() == 42
    assert arrival.result() == wakeup.Arrival(43)
    await wants.aclose()  # type: ignore[attr-defined]  # an async generator, told as an iterator
    await news.aclose()  # type: ignore[attr-defined]  # an async generator, told as an iterator
