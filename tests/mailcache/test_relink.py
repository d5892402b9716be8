"""A mailbox that the upstream renumbers keeps its messages (field notes 27 and G4, quirk 41)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailcache.flags import FlagSet
from mailcache.mime.parsed import parse_header
from mailcache.models import Account, BodyPolicy, Change, Listing, Mailbox, Message, Mutation, Remote
from mailcache.services.expunge import expunge_messages
from mailcache.services.flags import store_flags
from mailcache.services.ingest_expunge import remove_other_uidvalidities
from mailcache.services.ingest_headers import HeaderRow, add_headers
from mailcache.services.ingest_skeleton import SkeletonRow, add_messages
from mailcache.services.leases import Fence
from mailcache.services.relink_contents import relink_by_contents
from mailcache.services.transfer import move_messages
from mailcache.wire.number_set import NumberSet
from tests.builders import (
    UIDVALIDITY,
    add_bodies,
    add_skeleton,
    make_account,
    make_fence,
    make_mailboxes,
    message_bytes,
    row_of,
    skeleton_row,
)
from tests.mailcache.deltas import adding
from tests.mailcache.rows import bytes_of, check_consistency, flags_of, uids_of, upstream_uids

pytestmark = pytest.mark.django_db

NEW = UIDVALIDITY + 1


@pytest.fixture
def fence() -> Fence:
    return make_fence(make_account())


@pytest.fixture
def inbox(fence: Fence) -> Mailbox:
    return make_mailboxes(fence)[0]


def mirror(fence: Fence, mailbox: Mailbox, bodies: dict[int, bytes]) -> None:
    """Make messages appear with their bytes."""
    add_skeleton(fence, mailbox, [row_of(uid, body) for uid, body in bodies.items()])
    add_bodies(fence, mailbox, bodies)


def renumber(fence: Fence, mailbox: Mailbox, rows: list[SkeletonRow], uidvalidity: int = NEW) -> int:
    """Compare with a renumbered mailbox as the sync does; returns how many messages went."""
    add_messages(fence=fence, mailbox_id=mailbox.pk, uidvalidity=uidvalidity, rows=rows)
    return remove_other_uidvalidities(fence=fence, mailbox_id=mailbox.pk, uidvalidity=uidvalidity)


class TestWithMessageId:
    def test_clients_notice_nothing(self, fence: Fence, inbox: Mailbox) -> None:
        bodies = {uid: message_bytes(f"{uid}") for uid in (3, 5, 8)}
        mirror(fence, inbox, bodies)
        before = (uids_of(inbox), bytes_of(inbox), Change.objects.count())

        gone = renumber(fence, inbox, [row_of(uid, bodies[old]) for uid, old in ((1, 3), (2, 5), (3, 8))])

        assert gone == 0
        assert (uids_of(inbox), bytes_of(inbox), Change.objects.count()) == before
        assert upstream_uids(inbox, NEW) == {3: 1, 5: 2, 8: 3}
        assert not Listing.objects.exists()
        check_consistency(inbox)

    def test_a_restored_backup_loses_and_regains(self, fence: Fence, inbox: Mailbox) -> None:
        bodies = {uid: message_bytes(f"{uid}") for uid in (1, 2, 3)}
        mirror(fence, inbox, bodies)
        returned = message_bytes("deleted before, back with the backup")

        gone = renumber(fence, inbox, [row_of(1, returned), row_of(2, bodies[1]), row_of(3, bodies[3])])

        assert gone == 1
        assert bytes_of(inbox) == {1: bodies[1], 3: bodies[3], 4: None}
        assert list(Listing.objects.values_list("uid", flat=True)) == [1]
        check_consistency(inbox)

    def test_what_was_expunged_and_is_back_is_not_fetched_again(self, fence: Fence, inbox: Mailbox) -> None:
        bodies = {1: message_bytes("one"), 2: message_bytes("two")}
        mirror(fence, inbox, bodies)
        renumber(fence, inbox, [row_of(1, bodies[1])])

        renumber(fence, inbox, [row_of(1, bodies[1]), row_of(2, bodies[2])], NEW + 1)

        assert bytes_of(inbox) == {1: bodies[1], 3: bodies[2]}
        assert not Listing.objects.exists()

    def test_in_chunks_and_cut_off_in_between(self, fence: Fence, inbox: Mailbox) -> None:
        bodies = {uid: message_bytes(f"{uid}") for uid in range(1, 7)}
        mirror(fence, inbox, bodies)
        rows = [row_of(uid + 10, body) for uid, body in bodies.items()]

        add_messages(fence=fence, mailbox_id=inbox.pk, uidvalidity=NEW, rows=rows[3:])
        assert uids_of(inbox) == list(bodies)
        # The next run begins anew: what is known under the new numbers is skipped.
        assert renumber(fence, inbox, rows) == 0

        assert upstream_uids(inbox, NEW) == {uid: uid + 10 for uid in bodies}
        check_consistency(inbox)

    def test_flapping_between_two_numberings(self, fence: Fence, inbox: Mailbox) -> None:
        bodies = {uid: message_bytes(f"{uid}") for uid in (1, 2)}
        mirror(fence, inbox, bodies)
        rows = [row_of(uid, body) for uid, body in bodies.items()]

        for uidvalidity in (NEW, UIDVALIDITY, NEW - 3):
            assert renumber(fence, inbox, rows, uidvalidity) == 0

        assert bytes_of(inbox) == bodies
        assert Remote.objects.count() == 2
        check_consistency(inbox)

    def test_equal_messages_are_paired_in_order(self, fence: Fence, inbox: Mailbox) -> None:
        body = message_bytes("three times")
        mirror(fence, inbox, {1: body, 2: body, 3: body})

        gone = renumber(fence, inbox, [row_of(7, body), row_of(9, body)])

        assert gone == 1
        assert upstream_uids(inbox, NEW) == {1: 7, 2: 9}
        check_consistency(inbox)

    def test_a_migration_that_lost_the_dates_loses_no_message(self, fence: Fence, inbox: Mailbox) -> None:
        bodies = {1: message_bytes("one"), 2: message_bytes("two")}
        mirror(fence, inbox, bodies)
        today = [
            replace(row_of(uid, body), internal_date=row_of(uid, body).internal_date + timedelta(days=90))
            for uid, body in bodies.items()
        ]

        assert renumber(fence, inbox, today) == 0

        assert bytes_of(inbox) == bodies
        # INTERNALDATE is a thing that clients keep: ours stays.
        assert {message.internal_date for message in Message.objects.all()} == {skeleton_row(1).internal_date}

    def test_a_size_that_the_upstream_gets_wrong(self, fence: Fence, inbox: Mailbox) -> None:
        body = message_bytes("larger than it says")
        announced = replace(row_of(1, body), size=len(body) - 9)
        add_skeleton(fence, inbox, [announced])
        add_bodies(fence, inbox, {1: body})
        assert uids_of(inbox) == [2]

        assert renumber(fence, inbox, [announced]) == 0

        assert bytes_of(inbox) == {2: body}
        check_consistency(inbox)


class TestOtherIdentities:
    def test_the_upstreams_id_comes_first(self, fence: Fence, inbox: Mailbox) -> None:
        ids = {1: "M1", 2: "M2"}
        add_skeleton(fence, inbox, [skeleton_row(uid, upstream_id=ids[uid]) for uid in (1, 2)])

        gone = renumber(fence, inbox, [skeleton_row(1, upstream_id="M2", size=5), skeleton_row(2, upstream_id="M1")])

        assert gone == 0
        assert upstream_uids(inbox, NEW) == {1: 2, 2: 1}

    def test_another_id_is_another_message(self, fence: Fence, inbox: Mailbox) -> None:
        add_skeleton(fence, inbox, [skeleton_row(1, upstream_id="M1")])

        assert renumber(fence, inbox, [skeleton_row(1, upstream_id="M2")]) == 1

        assert uids_of(inbox) == [2]

    def test_an_id_that_is_longer_than_allowed(self, fence: Fence, inbox: Mailbox) -> None:
        endless = "x" * 5000
        add_skeleton(fence, inbox, [skeleton_row(1, upstream_id=endless)])

        assert renumber(fence, inbox, [skeleton_row(9, upstream_id=endless)]) == 0

    def test_a_message_without_bytes_by_its_header(self, fence: Fence, inbox: Mailbox) -> None:
        body = message_bytes("listed only")
        add_skeleton(fence, inbox, [skeleton_row(1, size=len(body))])
        header = body.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        add_headers(fence=fence, rows=[HeaderRow(Remote.objects.get().pk, header, parse_header(header))])

        assert renumber(fence, inbox, [row_of(4, body)]) == 0

        listing = Listing.objects.get()
        assert (listing.uid, bytes(listing.header or b"")) == (4, header)

    def test_size_and_date_where_there_is_no_message_id(self, fence: Fence, inbox: Mailbox) -> None:
        bodies = {1: b"Subject: a\r\n\r\nfirst\r\n", 2: b"Subject: b\r\n\r\nsecond\r\n"}
        mirror(fence, inbox, bodies)

        assert renumber(fence, inbox, [row_of(5, bodies[1]), row_of(6, bodies[2])]) == 0

        assert bytes_of(inbox) == bodies

    def test_a_message_without_message_id_is_none_that_has_one(self, fence: Fence, inbox: Mailbox) -> None:
        body = message_bytes()
        mirror(fence, inbox, {1: body})

        assert renumber(fence, inbox, [skeleton_row(1, size=len(body))]) == 1


class TestByTheBytes:
    """Messages without Message-ID that size and date do not tell apart: their SHA-256 does, when it is known."""

    bodies: ClassVar = {1: b"Subject: a\r\n\r\nfirst\r\n", 2: b"Subject: b\r\n\r\nother\r\n"}

    def test_one_of_two_alike_is_gone(self, fence: Fence, inbox: Mailbox) -> None:
        mirror(fence, inbox, self.bodies)

        assert renumber(fence, inbox, [row_of(9, self.bodies[2], "\\Flagged")]) == 0
        assert bytes_of(inbox) == {**self.bodies, 9: None}
        added = add_bodies(fence, inbox, {9: self.bodies[2]})
        assert relink_by_contents(fence=fence, mailbox_id=inbox.pk, uidvalidity=NEW) == 1
        assert remove_other_uidvalidities(fence=fence, mailbox_id=inbox.pk, uidvalidity=NEW) == 1

        assert (added.stored, added.duplicate) == (0, 1)
        assert bytes_of(inbox) == {2: self.bodies[2]}
        assert upstream_uids(inbox, NEW) == {2: 9}
        assert flags_of(inbox, 2) == FlagSet.parse(["\\Flagged"])
        check_consistency(inbox)

    def test_what_clients_did_to_either_is_kept(self, fence: Fence, inbox: Mailbox) -> None:
        mirror(fence, inbox, self.bodies)
        renumber(fence, inbox, [row_of(9, self.bodies[2])])
        for uid, flag in ((2, "\\Answered"), (9, "\\Seen")):
            one = NumberSet.from_numbers([uid])
            store_flags(user_id=inbox.account.user_id, mailbox_id=inbox.pk, uids=one, store=adding(flag))
        add_bodies(fence, inbox, {9: self.bodies[2]})

        relink_by_contents(fence=fence, mailbox_id=inbox.pk, uidvalidity=NEW)

        assert flags_of(inbox, 2) == FlagSet.parse(["\\Answered", "\\Seen"])
        mutations = Mutation.objects.values_list("message__uid", "remote__uid", "remote__uidvalidity")
        assert list(mutations) == [(2, 9, NEW)] * 2
        check_consistency(inbox)

    def test_another_message_is_none(self, fence: Fence, inbox: Mailbox) -> None:
        mirror(fence, inbox, self.bodies)
        third = b"Subject: c\r\n\r\nthird\r\n"
        renumber(fence, inbox, [row_of(9, third)])
        add_bodies(fence, inbox, {9: third})

        assert relink_by_contents(fence=fence, mailbox_id=inbox.pk, uidvalidity=NEW) == 0
        assert remove_other_uidvalidities(fence=fence, mailbox_id=inbox.pk, uidvalidity=NEW) == 2
        assert bytes_of(inbox) == {9: third}
        check_consistency(inbox)

    def test_equal_messages_stay_as_many_as_they_are(self, fence: Fence, inbox: Mailbox) -> None:
        copies = dict.fromkeys((1, 2, 3), self.bodies[1])
        mirror(fence, inbox, copies)
        renumber(fence, inbox, [row_of(8, self.bodies[1]), row_of(9, self.bodies[1])])
        add_bodies(fence, inbox, dict.fromkeys((8, 9), self.bodies[1]))

        assert relink_by_contents(fence=fence, mailbox_id=inbox.pk, uidvalidity=NEW) == 2
        assert remove_other_uidvalidities(fence=fence, mailbox_id=inbox.pk, uidvalidity=NEW) == 1
        assert upstream_uids(inbox, NEW) == {1: 8, 2: 9}
        check_consistency(inbox)

    def test_nobody_waits_for_bytes_that_do_not_come(self, fence: Fence, inbox: Mailbox) -> None:
        Account.objects.update(body_policy=BodyPolicy.ON_DEMAND)
        mirror(fence, inbox, self.bodies)
        assert renumber(fence, inbox, [row_of(9, self.bodies[2])]) == 2


class TestGoneHere:
    """What clients moved or deleted, and the upstream still has, is known again too: it must not come back as new."""

    @pytest.mark.parametrize("with_bytes", [True, False])
    def test_moved(self, fence: Fence, with_bytes: bool) -> None:
        inbox, archive = make_mailboxes(fence, "INBOX", "Archive")
        bodies = {1: message_bytes("one"), 2: message_bytes("two")}
        add_skeleton(fence, inbox, [row_of(uid, body) for uid, body in bodies.items()])
        if with_bytes:
            add_bodies(fence, inbox, bodies)
        user_id = inbox.account.user_id
        moved = NumberSet.from_numbers([1])
        move_messages(user_id=user_id, mailbox_id=inbox.pk, target_id=archive.pk, uids=moved)

        assert renumber(fence, inbox, [row_of(5, bodies[1]), row_of(6, bodies[2])]) == 0

        assert (uids_of(inbox), len(uids_of(archive))) == ([2], 1)
        remote = Mutation.objects.get().remote
        assert remote is not None
        assert (remote.uidvalidity, remote.uid) == (NEW, 5)

    def test_expunged(self, fence: Fence, inbox: Mailbox) -> None:
        bodies = {1: message_bytes("one"), 2: b"Subject: without Message-ID\r\n\r\ntwo\r\n"}
        mirror(fence, inbox, bodies)
        user_id = inbox.account.user_id
        everything = NumberSet.from_numbers([1, 2])
        store_flags(user_id=user_id, mailbox_id=inbox.pk, uids=everything, store=adding("\\Deleted"))
        expunge_messages(user_id=user_id, mailbox_id=inbox.pk)

        assert renumber(fence, inbox, [row_of(5, bodies[1]), row_of(6, bodies[2])]) == 0

        assert uids_of(inbox) == []
        remotes = [mutation.remote for mutation in Mutation.objects.order_by("remote__uid")]
        assert [(remote.uidvalidity, remote.uid) for remote in remotes if remote] == [(NEW, 5), (NEW, 6)]


class TestFlags:
    def test_flags_are_taken_over_below_what_clients_changed(self, fence: Fence, inbox: Mailbox) -> None:
        bodies = {1: message_bytes("one"), 2: message_bytes("two")}
        mirror(fence, inbox, bodies)
        store_flags(
            user_id=inbox.account.user_id,
            mailbox_id=inbox.pk,
            uids=NumberSet.from_numbers([1]),
            store=adding("\\Seen"),
        )
        changes = Change.objects.count()

        renumber(fence, inbox, [row_of(8, bodies[1], "\\Flagged"), row_of(9, bodies[2])])

        assert flags_of(inbox, 1) == FlagSet.parse(["\\Seen", "\\Flagged"])
        assert FlagSet.of(Remote.objects.get(uid=8).flags) == FlagSet.parse(["\\Flagged"])
        assert Change.objects.count() == changes + 1
        assert Change.objects.latest("modseq").changed == "1"
        check_consistency(inbox)


SIZES = st.sampled_from([100, 200])
TRAITS = st.tuples(st.sampled_from(["", "<a@x>", "<b@x>", "<c@x>"]), st.sampled_from(["", "E1", "E2"]), SIZES)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    old=st.lists(TRAITS, min_size=1, max_size=6),
    new=st.lists(st.tuples(TRAITS, st.booleans()), max_size=6),
    chunk=st.integers(1, 6),
)
def test_after_any_renumbering(
    transactional_db: None,
    old: list[tuple[str, str, int]],
    new: list[tuple[tuple[str, str, int], bool]],
    chunk: int,
) -> None:
    """Whatever is there: each new message once, ours keep their UIDs or go, journal and counters agree."""
    fence = make_fence(make_account())
    (inbox,) = make_mailboxes(fence)
    rows = [
        skeleton_row(uid, size=size, upstream_id=upstream_id, message_id=message_id)
        for uid, (message_id, upstream_id, size) in enumerate(old, 1)
    ]
    add_skeleton(fence, inbox, rows)
    before = {message.pk: message.uid for message in Message.objects.filter(mailbox=inbox)}
    renumbered = [
        skeleton_row(uid, *(["\\Seen"] if seen else []), size=size, upstream_id=upstream_id, message_id=message_id)
        for uid, ((message_id, upstream_id, size), seen) in enumerate(new, 1)
    ]
    for start in range(0, len(renumbered), chunk):
        rows = renumbered[start : start + chunk]
        add_messages(fence=fence, mailbox_id=inbox.pk, uidvalidity=NEW, rows=rows)
        check_consistency(inbox)
    remove_other_uidvalidities(fence=fence, mailbox_id=inbox.pk, uidvalidity=NEW)

    check_consistency(inbox)
    assert sorted(upstream_uids(inbox, NEW).values()) == list(range(1, len(new) + 1))
    after = {message.pk: message.uid for message in Message.objects.filter(mailbox=inbox)}
    assert all(before[pk] == uid for pk, uid in after.items() if pk in before)
    assert all(uid > max(before.values()) for pk, uid in after.items() if pk not in before)
