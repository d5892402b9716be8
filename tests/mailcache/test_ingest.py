"""Ingest of what the upstream has: messages appear, get their bytes, change and go; the journal tells of all of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mailcache.flags import FlagSet
from mailcache.mime.parsed import parse_header
from mailcache.models import Account, Change, Content, Listing, Mailbox, MailboxRole, Message, Mutation, Remote, Segment
from mailcache.segments import read_range
from mailcache.services.flags import store_flags
from mailcache.services.ingest_expunge import remove_messages, remove_other_uidvalidities
from mailcache.services.ingest_flags import apply_upstream_flags
from mailcache.services.ingest_headers import HeaderRow, add_headers
from mailcache.services.ingest_list import ingest_mailbox_list
from mailcache.services.ingest_skeleton import add_messages
from mailcache.services.leases import Fence
from mailcache.wire.number_set import NumberSet
from tests.builders import (
    UIDVALIDITY,
    add_bodies,
    add_skeleton,
    let_time_pass,
    make_account,
    make_fence,
    make_mailboxes,
    message_bytes,
    skeleton_row,
    upstream_mailbox,
)
from tests.mailcache.deltas import adding

pytestmark = pytest.mark.django_db


@pytest.fixture
def fence() -> Fence:
    return make_fence(make_account())


@pytest.fixture
def inbox(fence: Fence) -> Mailbox:
    return make_mailboxes(fence)[0]


def _counters(mailbox: Mailbox) -> tuple[int, int, int, int]:
    mailbox.refresh_from_db()
    return (mailbox.messages, mailbox.unseen, mailbox.deleted, mailbox.bytes)


def _changes(mailbox: Mailbox) -> list[tuple[int, str, str, str]]:
    rows = Change.objects.filter(mailbox=mailbox).order_by("modseq")
    return list(rows.values_list("modseq", "appeared", "changed", "expunged"))


class TestSkeleton:
    def test_uids_follow_the_upstream_where_they_ascend(self, fence: Fence, inbox: Mailbox) -> None:
        add_skeleton(fence, inbox, [skeleton_row(5), skeleton_row(9)])
        add_messages(fence=fence, mailbox_id=inbox.pk, uidvalidity=8, rows=[skeleton_row(3), skeleton_row(20)])

        assert list(Message.objects.order_by("uid").values_list("uid", flat=True)) == [5, 9, 10, 20]
        inbox.refresh_from_db()
        assert inbox.uidnext == 21

    def test_an_upstream_cannot_use_our_uids_up(self, fence: Fence, inbox: Mailbox) -> None:
        add_skeleton(fence, inbox, [skeleton_row(2**32 - 2)])

        inbox.refresh_from_db()
        assert inbox.uidnext == 2

    def test_known_messages_are_skipped(self, fence: Fence, inbox: Mailbox) -> None:
        assert add_skeleton(fence, inbox, [skeleton_row(1), skeleton_row(2)]) == 2
        assert add_skeleton(fence, inbox, [skeleton_row(2), skeleton_row(3)]) == 1
        assert add_skeleton(fence, inbox, [skeleton_row(3)]) == 0
        assert _changes(inbox) == [(2, "1:2", "", ""), (3, "3", "", "")]

    def test_counters_and_work_list(self, fence: Fence, inbox: Mailbox) -> None:
        rows = [skeleton_row(1, "\\Seen", size=10), skeleton_row(2, "\\Deleted", "$Work", size=20)]

        add_skeleton(fence, inbox, rows)

        assert _counters(inbox) == (2, 1, 1, 30)
        assert list(Listing.objects.order_by("uid").values_list("uid", "size")) == [(1, 10), (2, 20)]
        assert Message.objects.get(uid=2).keywords == ["$Work"]


class TestFlags:
    def test_only_differences_are_journalled(self, fence: Fence, inbox: Mailbox) -> None:
        add_skeleton(fence, inbox, [skeleton_row(1), skeleton_row(2, "\\Seen")])

        changed = apply_upstream_flags(
            fence=fence,
            mailbox_id=inbox.pk,
            uidvalidity=UIDVALIDITY,
            flags={1: FlagSet.parse(["\\Seen", "x"]), 2: FlagSet.parse(["\\Seen"]), 99: FlagSet()},
        )

        assert changed == 1
        assert _changes(inbox)[-1][2] == "1"
        assert _counters(inbox)[1] == 0
        assert FlagSet.of(*Remote.objects.values_list("flags", "keywords").get(uid=1)) == FlagSet.parse(["\\Seen", "x"])

    def test_a_local_change_lies_on_top_of_what_the_upstream_says(self, fence: Fence, inbox: Mailbox) -> None:
        add_skeleton(fence, inbox, [skeleton_row(1)])
        store_flags(
            user_id=inbox.account.user_id,
            mailbox_id=inbox.pk,
            uids=NumberSet.from_numbers([1]),
            store=adding("\\Seen"),
        )

        apply_upstream_flags(
            fence=fence, mailbox_id=inbox.pk, uidvalidity=UIDVALIDITY, flags={1: FlagSet.parse(["\\Flagged"])}
        )

        assert FlagSet.of(Message.objects.get().flags) == FlagSet.parse(["\\Seen", "\\Flagged"])
        assert FlagSet.of(Remote.objects.get().flags) == FlagSet.parse(["\\Flagged"])


class TestExpunge:
    def test_rows_go_and_content_stays(self, fence: Fence, inbox: Mailbox) -> None:
        add_skeleton(fence, inbox, [skeleton_row(uid, size=len(message_bytes())) for uid in (1, 2, 3)])
        add_bodies(fence, inbox, {2: message_bytes()})
        store_flags(
            user_id=inbox.account.user_id, mailbox_id=inbox.pk, uids=NumberSet.from_numbers([1]), store=adding("x")
        )

        gone = remove_messages(fence=fence, mailbox_id=inbox.pk, uidvalidity=UIDVALIDITY, uids=[1, 2, 50])

        assert gone == 2
        assert list(Message.objects.values_list("uid", flat=True)) == [3]
        assert (Remote.objects.count(), Listing.objects.count(), Mutation.objects.count()) == (1, 1, 0)
        assert Content.objects.count() == 1
        assert _changes(inbox)[-1][3] == "1:2"
        assert _counters(inbox)[0] == 1

    def test_another_uidvalidity_goes_in_bounded_steps(self, fence: Fence, inbox: Mailbox) -> None:
        add_skeleton(fence, inbox, [skeleton_row(uid) for uid in range(1, 6)])
        add_messages(fence=fence, mailbox_id=inbox.pk, uidvalidity=8, rows=[skeleton_row(1)])

        steps = [remove_other_uidvalidities(fence=fence, mailbox_id=inbox.pk, uidvalidity=8, limit=3) for _ in range(3)]

        assert steps == [3, 2, 0]
        assert list(Message.objects.values_list("uid", flat=True)) == [6]


class TestBodies:
    def test_the_bytes_come_back(self, fence: Fence, inbox: Mailbox) -> None:
        bodies = {1: message_bytes("one"), 2: message_bytes("two")}
        add_skeleton(fence, inbox, [skeleton_row(uid, size=len(body)) for uid, body in bodies.items()])

        added = add_bodies(fence, inbox, bodies)

        assert (added.stored, added.duplicate, added.vanished) == (2, 0, 0)
        assert Listing.objects.count() == 0
        for message in Message.objects.select_related("content__segment"):
            content = message.content
            assert content is not None
            assert content.segment is not None
            assert read_range(content.segment.name, content.offset, content.size) == bodies[message.uid]

    def test_equal_bytes_are_kept_once_per_account(self, fence: Fence, inbox: Mailbox) -> None:
        body = message_bytes()
        (other,) = make_mailboxes(fence, "Other")
        for mailbox in (inbox, other):
            add_skeleton(fence, mailbox, [skeleton_row(1, size=len(body)), skeleton_row(2, size=len(body))])

        first = add_bodies(fence, inbox, {1: body, 2: body})
        second = add_bodies(fence, other, {1: body})

        assert (first.stored, first.duplicate) == (1, 1)
        assert (second.stored, second.duplicate) == (0, 1)
        assert Content.objects.count() == 1
        assert [row.dead_bytes for row in Segment.objects.order_by("pk")] == [len(body), len(body)]
        assert Segment.objects.order_by("pk").last().state == "dead"  # type: ignore[union-attr]  # two rows exist
        inbox.account.refresh_from_db()
        assert inbox.account.used_bytes == len(body)

    def test_a_wrong_size_gives_a_new_uid(self, fence: Fence, inbox: Mailbox) -> None:
        body = message_bytes()
        add_skeleton(fence, inbox, [skeleton_row(1, size=len(body) + 7), skeleton_row(2, size=len(body))])

        add_bodies(fence, inbox, {1: body, 2: body})

        assert list(Message.objects.order_by("uid").values_list("uid", "size")) == [(2, len(body)), (3, len(body))]
        assert _changes(inbox)[-1][1:] == ("3", "", "1")
        assert _counters(inbox)[3] == 2 * len(body)

    def test_a_message_expunged_meanwhile_leaves_its_bytes_to_the_collector(self, fence: Fence, inbox: Mailbox) -> None:
        body = message_bytes()
        add_skeleton(fence, inbox, [skeleton_row(1, size=len(body))])
        remote = Remote.objects.get()
        Message.objects.all().delete()

        assert add_bodies(fence, inbox, {remote.uid: body}).vanished == 1

    def test_headers_come_first(self, fence: Fence, inbox: Mailbox) -> None:
        body = message_bytes("listed")
        header = body.split(b"\r\n\r\n", maxsplit=1)[0] + b"\r\n\r\n"
        add_skeleton(fence, inbox, [skeleton_row(1, size=len(body))])
        remote = Remote.objects.get()

        add_headers(fence=fence, rows=[HeaderRow(remote.pk, header, parse_header(header))])
        listing = Listing.objects.get()
        add_bodies(fence, inbox, {1: body})

        assert bytes(listing.envelope or b"") == bytes(Content.objects.get().envelope)
        assert bytes(listing.listing_headers or b"") == bytes(Content.objects.get().listing_headers or b"")


class TestMailboxList:
    def test_a_mailbox_goes_when_two_lists_did_not_name_it(self, fence: Fence) -> None:
        make_mailboxes(fence, "INBOX", "Old")
        listed = [upstream_mailbox("INBOX")]

        first = ingest_mailbox_list(fence=fence, listed=listed)
        at_once = ingest_mailbox_list(fence=fence, listed=listed)
        let_time_pass(Account.objects.get(), timedelta(seconds=30))
        later = ingest_mailbox_list(fence=fence, listed=listed)

        assert (first.deleted, at_once.deleted, later.deleted) == (0, 0, 1)
        assert list(Mailbox.objects.values_list("name", flat=True)) == ["INBOX"]

    def test_one_missing_answer_is_forgiven(self, fence: Fence) -> None:
        make_mailboxes(fence, "INBOX", "Old")
        everything = [upstream_mailbox("INBOX"), upstream_mailbox("Old")]

        for listed in (everything[:1], everything, everything[:1]):
            assert ingest_mailbox_list(fence=fence, listed=listed).deleted == 0

    @pytest.mark.parametrize("listed", [[], ["Work"]])
    def test_an_answer_without_inbox_deletes_nothing(self, fence: Fence, listed: list[str]) -> None:
        make_mailboxes(fence, "INBOX", "Old", "Work")

        for _ in range(5):
            ingest_mailbox_list(fence=fence, listed=[upstream_mailbox(name) for name in listed])

        assert Mailbox.objects.count() == 3

    def test_deleting_takes_everything_in_it(self, fence: Fence) -> None:
        (old,) = make_mailboxes(fence, "Old")
        body = message_bytes()
        add_skeleton(fence, old, [skeleton_row(1, size=len(body)), skeleton_row(2)])
        add_bodies(fence, old, {1: body})

        for _ in range(2):
            ingest_mailbox_list(fence=fence, listed=[upstream_mailbox("INBOX")])
            let_time_pass(old.account, timedelta(seconds=30))

        assert not Mailbox.objects.filter(name="Old").exists()
        assert (Message.objects.count(), Remote.objects.count(), Change.objects.count()) == (0, 0, 0)

    def test_a_new_mailbox_of_an_old_name_has_a_greater_uidvalidity(self, fence: Fence) -> None:
        (old,) = make_mailboxes(fence, "Old")
        for _ in range(2):
            ingest_mailbox_list(fence=fence, listed=[upstream_mailbox("INBOX")])
            let_time_pass(old.account, timedelta(seconds=30))

        (new,) = make_mailboxes(fence, "Old")

        assert new.uidvalidity > old.uidvalidity

    def test_a_changed_role_is_taken_over(self, fence: Fence) -> None:
        make_mailboxes(fence, "INBOX", "Gesendet")

        changes = ingest_mailbox_list(
            fence=fence,
            listed=[upstream_mailbox("INBOX"), replace(upstream_mailbox("Gesendet"), role=MailboxRole.SENT)],
        )

        assert changes.changed == 1
        assert Mailbox.objects.get(name="Gesendet").role == MailboxRole.SENT

    def test_two_upstream_names_that_are_one_here_keep_the_first(self, fence: Fence) -> None:
        listed = [upstream_mailbox("INBOX"), replace(upstream_mailbox("inbox"), name="INBOX")]

        assert ingest_mailbox_list(fence=fence, listed=listed).created == 1
