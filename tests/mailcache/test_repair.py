"""Repair of a mailbox whose tables contradict each other."""

from __future__ import annotations

import pytest

from mailcache.flags import FlagSet, FlagStore, StoreMode
from mailcache.models import Change, Listing, Mailbox, Message, Remote
from mailcache.services.flags import store_flags
from mailcache.services.leases import Fence
from mailcache.services.repair import repair_mailbox
from mailcache.wire.number_set import NumberSet
from tests.builders import UIDVALIDITY, add_skeleton, make_account, make_fence, make_mailboxes, skeleton_row

pytestmark = pytest.mark.django_db


@pytest.fixture
def fence() -> Fence:
    return make_fence(make_account())


@pytest.fixture
def inbox(fence: Fence) -> Mailbox:
    inbox = make_mailboxes(fence)[0]
    add_skeleton(fence, inbox, [skeleton_row(1), skeleton_row(2, "\\Seen", "Work"), skeleton_row(3)])
    return inbox


def repair(fence: Fence, inbox: Mailbox) -> int:
    return repair_mailbox(fence=fence, mailbox_id=inbox.pk, uidvalidity=UIDVALIDITY)


def test_nothing_is_wrong(fence: Fence, inbox: Mailbox) -> None:
    changes = Change.objects.count()
    assert repair(fence, inbox) == 0
    assert Change.objects.count() == changes


def test_flags_become_those_last_agreed_and_clients_are_told(fence: Fence, inbox: Mailbox) -> None:
    before = Message.objects.get(uid=2).modseq
    Message.objects.filter(uid=2).update(keywords=["Play"])
    assert repair(fence, inbox) == 1
    message = Message.objects.get(uid=2)
    assert FlagSet.of(message.flags, message.keywords).names() == ("\\Seen", "Work")
    assert message.modseq > before


def test_counters_are_counted_again(fence: Fence, inbox: Mailbox) -> None:
    Mailbox.objects.update(messages=9, unseen=0, deleted=4, bytes=1)
    assert repair(fence, inbox) == 1
    inbox.refresh_from_db()
    assert (inbox.messages, inbox.unseen, inbox.deleted, inbox.bytes) == (3, 2, 0, 300)


def test_counters_that_would_forbid_the_repair_of_flags(fence: Fence, inbox: Mailbox) -> None:
    Message.objects.update(flags=31)
    assert repair(fence, inbox) == 4
    inbox.refresh_from_db()
    assert (inbox.unseen, inbox.deleted) == (2, 0)


def test_a_local_change_is_no_contradiction(fence: Fence, inbox: Mailbox) -> None:
    store_flags(
        user_id=inbox.account.user_id,
        mailbox_id=inbox.pk,
        uids=NumberSet.from_numbers([1]),
        store=FlagStore(StoreMode.ADD, FlagSet.parse(["\\Flagged"])),
    )
    Message.objects.filter(uid=3).delete()
    Mailbox.objects.update(messages=2, unseen=1, bytes=200)
    assert repair(fence, inbox) == 0
    assert Message.objects.get(uid=1).flags != 0
    assert Remote.objects.count() == 3


def test_what_no_client_sees_is_forgotten(fence: Fence, inbox: Mailbox) -> None:
    Message.objects.filter(uid=3).delete()
    assert repair(fence, inbox) == 2
    assert set(Remote.objects.values_list("uid", flat=True)) == {1, 2}
    assert set(Listing.objects.values_list("uid", flat=True)) == {1, 2}
