"""Batches for several connections: in order, no message twice, nothing kept back, and no more than is allowed."""

from __future__ import annotations

import pytest
from django.utils import timezone

from mailcache.models import Listing, Mailbox, MailboxRole
from mailcache.segments import LARGE_MESSAGE_BYTES
from mailcache.services.leases import Fence
from sync.body_policy import BodyRights
from sync.dispenser import Batch, BatchDispenser
from sync.faults import Faults
from tests.builders import UIDVALIDITY, add_skeleton, make_account, make_fence, make_mailboxes, skeleton_row

pytestmark = pytest.mark.django_db


@pytest.fixture
def fence() -> Fence:
    return make_fence(make_account())


@pytest.fixture
def mailboxes(fence: Fence) -> list[Mailbox]:
    """INBOX with the UIDs 1-4 and Archive with 1-3, 100 octets each."""
    inbox, archive = made = make_mailboxes(fence, "INBOX", "Archive")
    Mailbox.objects.update(upstream_uidvalidity=UIDVALIDITY)
    Mailbox.objects.filter(pk=inbox.pk).update(role=MailboxRole.INBOX)
    add_skeleton(fence, inbox, [skeleton_row(uid) for uid in range(1, 5)])
    add_skeleton(fence, archive, [skeleton_row(uid) for uid in range(1, 4)])
    return made


def dispenser_of(
    fence: Fence, mailboxes: list[Mailbox], *, rights: BodyRights | None = None, faults: Faults | None = None
) -> BatchDispenser:
    dispenser = BatchDispenser(
        fence.account_id, rights=rights or BodyRights(), faults=faults or Faults(), skipped=set(), most=500
    )
    dispenser.offer(mailboxes)
    return dispenser


def take(dispenser: BatchDispenser, limit: int = 200) -> tuple[str, list[int]] | None:
    batch = dispenser.take(limit, wait=False)
    return None if batch is None else told(batch)


def told(batch: Batch) -> tuple[str, list[int]]:
    return batch.mailbox.name, [message.uid for message in batch.messages]


def test_mailbox_after_mailbox_newest_first_and_nothing_twice(fence: Fence, mailboxes: list[Mailbox]) -> None:
    dispenser = dispenser_of(fence, mailboxes)
    assert [take(dispenser) for _ in range(5)] == [
        ("INBOX", [4, 3]), ("INBOX", [2, 1]), ("Archive", [3, 2]), ("Archive", [1]), None,
    ]  # fmt: skip


def test_what_is_given_back_is_handed_out_again(fence: Fence, mailboxes: list[Mailbox]) -> None:
    dispenser = dispenser_of(fence, mailboxes)
    first = dispenser.take(200, wait=False)
    assert first is not None
    assert take(dispenser) == ("INBOX", [2, 1])
    dispenser.release(first.held, first.mailbox.pk)
    assert take(dispenser) == ("INBOX", [4, 3])


def test_what_a_client_waits_for_comes_first(fence: Fence, mailboxes: list[Mailbox]) -> None:
    Listing.objects.filter(mailbox=mailboxes[1], uid=1).update(wanted_at=timezone.now())
    assert take(dispenser_of(fence, mailboxes)) == ("Archive", [1])


def test_newer_messages_that_appear_meanwhile_come_before_older_ones(fence: Fence, mailboxes: list[Mailbox]) -> None:
    """Note G5: the newest are enumerated last."""
    dispenser = dispenser_of(fence, mailboxes)
    assert take(dispenser) == ("INBOX", [4, 3])
    add_skeleton(fence, mailboxes[0], [skeleton_row(9), skeleton_row(10)])
    dispenser.reopen(mailboxes[0])
    assert take(dispenser) == ("INBOX", [10, 9])


def test_outsized_messages_and_those_that_failed_before_are_alone(fence: Fence, mailboxes: list[Mailbox]) -> None:
    inbox = Listing.objects.filter(mailbox=mailboxes[0])
    inbox.filter(uid=3).update(size=LARGE_MESSAGE_BYTES + 1)
    inbox.filter(uid=1).update(attempts=2)
    dispenser = dispenser_of(fence, mailboxes)
    taken = [take(dispenser, 10**9) for _ in range(5)]
    assert taken == [("INBOX", [4]), ("INBOX", [3]), ("INBOX", [2]), ("INBOX", [1]), ("Archive", [3, 2, 1])]


def test_a_mailbox_that_failed_is_left_out_and_one_that_is_avoided_goes_to_others(
    fence: Fence, mailboxes: list[Mailbox]
) -> None:
    faults = Faults()
    dispenser = dispenser_of(fence, mailboxes, faults=faults)
    avoiding = dispenser.take(200, wait=False, avoided={mailboxes[0].pk})
    assert avoiding is not None
    assert told(avoiding) == ("Archive", [3, 2])
    assert take(dispenser) == ("INBOX", [4, 3])
    faults.mailboxes.add(mailboxes[0].pk)
    assert take(dispenser) == ("Archive", [1])


def test_no_more_octets_than_allowed_are_handed_out(fence: Fence, mailboxes: list[Mailbox]) -> None:
    dispenser = dispenser_of(fence, mailboxes, rights=BodyRights(octets=250))
    assert [take(dispenser, 1000) for _ in range(3)] == [("INBOX", [4, 3]), ("INBOX", [2]), None]
    assert dispenser.is_anything_withheld()


def test_nothing_is_handed_out_after_the_stop(fence: Fence, mailboxes: list[Mailbox]) -> None:
    dispenser = dispenser_of(fence, mailboxes)
    dispenser.stop()
    assert dispenser.take(200, wait=True) is None


def test_who_waits_is_sent_home_when_the_listing_is_complete(fence: Fence, mailboxes: list[Mailbox]) -> None:
    dispenser = dispenser_of(fence, [])
    dispenser.complete()
    assert dispenser.take(200, wait=True) is None


def test_a_mailbox_that_is_being_compared_for_the_first_time_is_opened_under_its_numbers(
    fence: Fence, mailboxes: list[Mailbox]
) -> None:
    """Another thread commits messages and their numbering before it says so here."""
    assert mailboxes[0].upstream_uidvalidity is None
    batch = dispenser_of(fence, mailboxes).take(200, wait=False)
    assert batch is not None
    assert batch.uidvalidity == UIDVALIDITY
