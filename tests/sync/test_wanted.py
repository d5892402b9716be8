"""Wanted bodies from upstreams that misbehave: what cannot be delivered is given up with its reason, and told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from celery import current_app
from django.conf import settings
from django.utils import timezone
from kombu.exceptions import OperationalError

from mailcache.errors import LeaseLost
from mailcache.models import Account, AccountState, Content, LeaseKind, Listing, Mailbox, Message, Segment
from mailcache.services import leases
from mailcache.services.wanted import want_bodies
from sync import fetching_wanted
from sync.fetching_wanted import enqueue_wanted, fetch_wanted
from sync.models import ConnectionSlot, Purpose, WatcherProcess
from sync.services.watchers import beat_watcher, show_life
from tests.builders import UIDVALIDITY, add_skeleton, make_account, make_fence, make_mailboxes, skeleton_row
from tests.sync.one_mailbox import OneMailbox
from tests.sync.watching import watching
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def upstream() -> Iterator[OneMailbox]:
    """An upstream with messages 1 to 4."""
    with OneMailbox(4) as upstream:
        yield upstream


@pytest.fixture
def account(upstream: OneMailbox) -> Account:
    """An account whose messages are known here, without their bytes."""
    account = make_account(port=upstream.port)
    fence = make_fence(account)
    (inbox,) = make_mailboxes(fence)
    add_skeleton(fence, inbox, [skeleton_row(uid, size=len(data)) for uid, data in upstream.messages.items()])
    Mailbox.objects.filter(pk=inbox.pk).update(upstream_uidvalidity=UIDVALIDITY)
    leases.release(fence)
    return account


def want(account: Account, *uids: int) -> None:
    want_bodies(user_id=account.user_id, mailbox_id=account.mailboxes.get().pk, uids=uids)


def here() -> set[int]:
    return set(Message.objects.filter(content__isnull=False).values_list("uid", flat=True))


def given_up() -> dict[int, str]:
    return dict(
        Listing.objects.filter(wanted_at__isnull=True, retry_at__gt=timezone.now()).values_list("uid", "parked_reason")
    )


def test_a_task_fetches_what_nobody_else_answers_for(account: Account, upstream: OneMailbox) -> None:
    want(account, 2, 3)
    assert fetch_wanted(account.pk)
    assert here() == {2, 3}
    assert len(upstream.bodies_asked()) == 1
    assert not ConnectionSlot.objects.exists()


def test_what_somebody_waits_for_needs_no_segment(account: Account, upstream: OneMailbox) -> None:
    want(account, 2, 3)
    assert fetch_wanted(account.pk)
    kept = {bytes(content.inline or b"") for content in Content.objects.all()}
    assert kept == {upstream.messages[2], upstream.messages[3]}
    assert not Segment.objects.exists()


def test_the_holder_of_the_lease_is_left_alone(account: Account, upstream: OneMailbox) -> None:
    want(account, 2)
    assert leases.acquire(account_id=account.pk, kind=LeaseKind.WATCH, holder="a watcher") is not None
    assert not fetch_wanted(account.pk)
    assert not upstream.connections


def test_without_a_free_connection_the_task_leaves_it_to_the_worker(account: Account, upstream: OneMailbox) -> None:
    want(account, 2)
    Account.objects.update(connection_limit=1)
    later = timezone.now() + timedelta(hours=1)
    ConnectionSlot.objects.create(
        account=account, host=account.host, purpose=Purpose.SYNC, holder="a worker", expires_at=later
    )
    assert not fetch_wanted(account.pk)
    assert not upstream.connections
    # The lease is free again: the slice that has the connection answers.
    assert Listing.objects.left_to_sync().wanted().count() == 1


def test_one_that_is_refused_or_left_out_does_not_hold_up_the_others(account: Account, upstream: OneMailbox) -> None:
    upstream.without_body = {2}
    upstream.refuses_body = {3}
    want(account, 1, 2, 3, 4)
    assert fetch_wanted(account.pk)
    assert here() == {1, 4}
    assert given_up() == dict.fromkeys((2, 3), "the upstream did not deliver this message")
    assert set(Listing.objects.values_list("attempts", flat=True)) == {1}


def test_a_mailbox_that_was_renumbered_gives_nothing(account: Account, upstream: OneMailbox) -> None:
    upstream.uidvalidity = 8
    want(account, 1)
    assert fetch_wanted(account.pk)
    assert not here()
    assert given_up() == {1: "the mailbox was renumbered (UIDVALIDITY) upstream"}
    assert Listing.objects.get(uid=1).attempts == 0


def test_what_comes_from_another_mailbox_than_was_to_be_opened_is_not_kept(
    account: Account, upstream: OneMailbox
) -> None:
    upstream.refuses_examine = True
    want(account, 1)
    assert fetch_wanted(account.pk)
    assert len(upstream.bodies_asked()) == 1
    assert not here()
    assert "throttled" in given_up()[1]


def test_an_upstream_that_breaks_off_is_told_at_once(account: Account, upstream: OneMailbox) -> None:
    upstream.drops_at_body = {1}
    want(account, 1)
    assert fetch_wanted(account.pk)
    assert "connection lost" in given_up()[1]


def test_waiting_for_an_account_whose_credentials_were_refused_is_short(account: Account) -> None:
    Account.objects.update(state=AccountState.AUTH_FAILED, state_reason="the password is wrong")
    want(account, 1)
    assert fetch_wanted(account.pk)
    assert given_up() == {1: "the password is wrong"}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """Tasks that were sent: account and queue."""
    found: list[tuple[int, str]] = []

    def send_task(name: str, *, args: list[int], queue: str, **_: object) -> None:
        assert name == fetching_wanted.FETCH_WANTED
        found.append((args[0], queue))

    monkeypatch.setattr(current_app, "send_task", send_task)
    return found


def test_the_sweep_sends_a_task_where_nobody_answers(account: Account, sent: list[tuple[int, str]]) -> None:
    assert enqueue_wanted() == 0
    want(account, 1)
    assert enqueue_wanted() == 1
    Account.objects.update(slow_until=timezone.now() + timedelta(minutes=1))
    assert enqueue_wanted() == 1
    assert leases.acquire(account_id=account.pk, kind=LeaseKind.WATCH, holder="a watcher") is not None
    assert enqueue_wanted() == 0
    assert sent == [(account.pk, "urgent"), (account.pk, "bulk")]


def test_the_lease_of_a_watcher_that_died_keeps_nobody_waiting(
    account: Account, upstream: OneMailbox, sent: list[tuple[int, str]]
) -> None:
    for holder in ("alive", "dead"):
        beat_watcher(holder=holder)
    fence = leases.acquire(account_id=account.pk, kind=LeaseKind.WATCH, holder="dead")
    assert fence is not None
    want(account, 1)
    assert enqueue_wanted() == 0
    WatcherProcess.objects.filter(holder="dead").update(seen_at=timezone.now() - timedelta(seconds=4))
    show_life(holder="alive")
    assert enqueue_wanted() == 1
    assert fetch_wanted(account.pk)
    assert here() == {1}
    with pytest.raises(LeaseLost):
        leases.renew(fence)


def test_the_lease_of_a_watcher_that_is_alive_is_its_own(account: Account, sent: list[tuple[int, str]]) -> None:
    assert leases.acquire(account_id=account.pk, kind=LeaseKind.WATCH, holder="alive") is not None
    beat_watcher(holder="alive")
    WatcherProcess.objects.update(seen_at=timezone.now() - timedelta(seconds=4))
    show_life(holder="alive")
    want(account, 1)
    assert enqueue_wanted() == 0
    assert sent == []


def test_without_a_broker_the_next_sweep_tries_again(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def send_task(*_: object, **__: object) -> None:
        raise OperationalError

    monkeypatch.setattr(current_app, "send_task", send_task)
    want(account, 1)
    assert enqueue_wanted() == 0


def test_a_watcher_asks_for_a_task_where_nobody_watches(account: Account, sent: list[tuple[int, str]]) -> None:
    Account.objects.update(connection_limit=1)
    with watching() as watcher:
        wait_until(lambda: watcher.reloads > 1)
        want(account, 1)
        wait_until(lambda: (account.pk, "urgent") in sent)


def test_a_watcher_fetches_over_the_connection_that_it_has(account: Account, upstream: OneMailbox) -> None:
    idling = b"+ idling\r\n"
    upstream._answers |= {"CAPABILITY": b"* CAPABILITY IMAP4rev1 IDLE\r\n{tag} OK done\r\n", "IDLE": idling}
    upstream._answers["DONE"] = b"{tag} OK done\r\n"
    with watching() as watcher:
        wait_until(lambda: account.pk in watcher.listening)
        want(account, 4)
        wait_until(lambda: here() == {4})
        assert upstream.connections == 1


def test_a_large_body_is_spooled_and_leaves_no_file(account: Account, upstream: OneMailbox) -> None:
    upstream.messages[1] += b"x" * 5_000_000
    Listing.objects.filter(uid=1).update(size=len(upstream.messages[1]))
    Message.objects.filter(uid=1).update(size=len(upstream.messages[1]))
    want(account, 1, 2)
    assert fetch_wanted(account.pk)
    assert here() == {1, 2}
    assert not list((Path(settings.DATA_DIR) / "spool").iterdir())
