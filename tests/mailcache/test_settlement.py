"""What becomes of mutations: settled, tried again, set aside, forgotten."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from mailcache.errors import LeaseLost, NameTaken
from mailcache.flags import FlagSet, StoreMode
from mailcache.models import (
    LATENCY_BOUNDS,
    Change,
    Lease,
    Listing,
    Mailbox,
    Message,
    Mutation,
    MutationState,
    Remote,
    ReplayLatency,
)
from mailcache.services.mailbox_changes import create_mailbox, delete_mailbox, rename_mailbox
from mailcache.services.settle_creators import settle_creators
from mailcache.services.settle_names import settle_create, settle_delete, settle_rename
from mailcache.services.settlement import (
    note_accepted,
    note_sent,
    park,
    purge_settled,
    purge_settled_names,
    retry_later,
    settle_expunges,
    settle_stores,
)
from mailcache.services.transfer import move_messages
from tests.builders import UIDVALIDITY, message_bytes
from tests.mailcache.queued import EVERYTHING, NOTED, QueuedAccount


def _settle(
    queued: QueuedAccount,
    mailbox: Mailbox,
    uids: dict[Mutation, int],
    *,
    source_stays: bool = False,
    restates_flags: bool = False,
) -> None:
    note_sent(fence=queued.fence, ids=[mutation.pk for mutation in uids], noted=NOTED)
    settle_creators(
        fence=queued.fence,
        target_id=mailbox.pk,
        uidvalidity=UIDVALIDITY,
        uids={mutation.pk: uid for mutation, uid in uids.items()},
        source_stays=source_stays,
        restates_flags=restates_flags,
    )


class TestStores:
    def test_what_was_sent_is_what_was_agreed(self, queued: QueuedAccount) -> None:
        first = queued.store(queued.inbox, "\\Flagged", "$Work", uid=1)
        second = queued.store(queued.inbox, "\\Seen", uid=1, mode=StoreMode.REMOVE)
        settle_stores(fence=queued.fence, ids=[second.pk, first.pk])
        remote = Remote.objects.get(mailbox=queued.inbox, uid=1)
        assert FlagSet.of(remote.flags, remote.keywords) == FlagSet.parse(["\\Flagged", "$Work"])
        first.refresh_from_db()
        assert (first.state, first.settlement, queued.settlements()) == (MutationState.SETTLED, 1, 1)

    def test_flags_that_the_upstream_does_not_store_are_not_agreed(self, queued: QueuedAccount) -> None:
        store = queued.store(queued.inbox, "\\Flagged", "$Work", uid=1)
        settle_stores(fence=queued.fence, ids=[store.pk], kept_local=FlagSet.parse(["$work"]))
        remote = Remote.objects.get(mailbox=queued.inbox, uid=1)
        assert FlagSet.of(remote.flags, remote.keywords) == FlagSet.parse(["\\Seen", "\\Flagged"])
        store.refresh_from_db()
        assert "$work" in store.last_error

    def test_how_long_it_took_is_counted_once(self, queued: QueuedAccount) -> None:
        quick = queued.store(queued.inbox, "\\Flagged", uid=1)
        slow = queued.store(queued.inbox, "\\Seen", uid=1, mode=StoreMode.REMOVE)
        Mutation.objects.filter(pk=slow.pk).update(created_at=timezone.now() - timedelta(days=30))
        settle_stores(fence=queued.fence, ids=[quick.pk])
        settle_stores(fence=queued.fence, ids=[quick.pk, slow.pk])
        rows = ReplayLatency.objects.filter(account=queued.account).order_by("bucket")
        assert [row.changes for row in rows] == [1, 1]
        assert rows[1].bucket == len(LATENCY_BOUNDS)
        assert rows[1].seconds == pytest.approx(30 * 86_400, abs=60)

    def test_whoever_lost_the_account_settles_nothing(self, queued: QueuedAccount) -> None:
        store = queued.store(queued.inbox, "\\Flagged", uid=1)
        Lease.objects.filter(account=queued.account, kind="replay").update(generation=9)
        with pytest.raises(LeaseLost):
            settle_stores(fence=queued.fence, ids=[store.pk])
        store.refresh_from_db()
        assert (store.state, queued.settlements()) == (MutationState.PENDING, 0)


class TestCreators:
    def test_an_append_is_linked_and_so_is_what_follows(self, queued: QueuedAccount) -> None:
        (append,) = queued.append(queued.archive, message_bytes(), flags=["\\Seen"])
        store = queued.store(queued.archive, "\\Flagged", uid=1)
        assert (store.remote_id, store.depends_on_id) == (None, append.pk)
        _settle(queued, queued.archive, {append: 10})
        remote = Remote.objects.get(mailbox=queued.archive, uid=10)
        assert FlagSet.of(remote.flags, remote.keywords) == FlagSet.parse(["\\Seen"])
        assert Message.objects.get(mailbox=queued.archive).remote_id == remote.pk
        store.refresh_from_db()
        append.refresh_from_db()
        assert (store.remote_id, store.depends_on_id) == (remote.pk, None)
        assert (append.remote_id, append.state, append.settlement) == (remote.pk, MutationState.SETTLED, 1)
        assert not Listing.objects.filter(remote=remote).exists()

    def test_a_message_that_is_gone_here_leaves_its_place_known(self, queued: QueuedAccount) -> None:
        (append,) = queued.append(queued.archive, message_bytes())
        note_sent(fence=queued.fence, ids=[append.pk], noted=NOTED)
        expunge = queued.expunge(queued.archive, 1)
        _settle(queued, queued.archive, {append: 10})
        expunge.refresh_from_db()
        assert expunge.remote is not None
        assert (expunge.remote.uid, queued.uids(queued.archive)) == (10, [])

    def test_a_copy_has_the_flags_agreed_for_its_source(self, queued: QueuedAccount) -> None:
        copy = queued.copy(1)
        _settle(queued, queued.archive, {copy: 10})
        remote = Remote.objects.get(mailbox=queued.archive, uid=10)
        assert FlagSet.of(remote.flags, remote.keywords) == FlagSet.parse(["\\Seen"])

    def test_the_bytes_of_a_copy_are_fetched_from_its_own_place(self, queued: QueuedAccount) -> None:
        copy = queued.copy(2)
        assert Message.objects.get(mailbox=queued.archive).remote_id == copy.remote_id
        _settle(queued, queued.archive, {copy: 10})
        remote = Remote.objects.get(mailbox=queued.archive, uid=10)
        assert Message.objects.get(mailbox=queued.archive).remote_id == remote.pk
        listing = Listing.objects.get(remote=remote)
        assert (listing.uid, listing.size, listing.mailbox_id) == (10, 100, queued.archive.pk)

    def test_a_move_leaves_its_source_to_be_purged_by_itself(self, queued: QueuedAccount) -> None:
        move = queued.move(1)
        source = move.remote_id
        _settle(queued, queued.archive, {move: 10})
        move.refresh_from_db()
        left = Mutation.objects.get(kind="expunge")
        assert (left.mailbox_id, left.remote_id, left.state, left.settlement) == (
            queued.inbox.pk, source, MutationState.SETTLED, move.settlement,
        )  # fmt: skip
        assert move.remote_id != source

    def test_a_move_that_was_a_copy_has_its_source_expunged(self, queued: QueuedAccount) -> None:
        move = queued.move(1)
        source = move.remote_id
        _settle(queued, queued.archive, {move: 10}, source_stays=True)
        left = Mutation.objects.get(kind="expunge")
        assert (left.remote_id, left.state, left.content_id) == (source, MutationState.PENDING, move.content_id)
        assert left.arguments["size"]

    def test_parked_flags_follow_a_moved_message(self, queued: QueuedAccount) -> None:
        store = queued.store(queued.inbox, "\\Flagged", uid=1)
        park(fence=queued.fence, ids=[store.pk], reason="no")
        move = queued.move(1)
        _settle(queued, queued.archive, {move: 10})
        store.refresh_from_db()
        assert store.remote is not None
        assert (store.remote.mailbox_id, store.remote.uid) == (queued.archive.pk, 10)

    def test_flags_that_an_append_may_lose_are_queued_once_more(self, queued: QueuedAccount) -> None:
        appends = queued.append(queued.archive, message_bytes(), message_bytes(), flags=["\\Flagged"])
        _settle(queued, queued.archive, {appends[0]: 10, appends[1]: 11}, restates_flags=True)
        stores = Mutation.objects.filter(kind="store").order_by("pk")
        assert [(store.remote.uid if store.remote else 0, store.add_flags) for store in stores] == [(10, 4), (11, 4)]
        assert Remote.objects.get(mailbox=queued.archive, uid=10).flags == 0

    def test_but_not_those_that_a_client_has_changed_since(self, queued: QueuedAccount) -> None:
        (append,) = queued.append(queued.archive, message_bytes(), flags=["\\Seen", "\\Flagged", "$one", "$two"])
        queued.store(queued.archive, "\\Flagged", "$one", uid=1, mode=StoreMode.REMOVE)
        _settle(queued, queued.archive, {append: 10}, restates_flags=True)
        restated = queued.last()
        assert (restated.kind, restated.add_flags, restated.add_keywords) == ("store", 1, ["$two"])

    def test_settling_twice_changes_nothing(self, queued: QueuedAccount) -> None:
        (append,) = queued.append(queued.archive, message_bytes())
        _settle(queued, queued.archive, {append: 10})
        before = Remote.objects.count()
        _settle(queued, queued.archive, {append: 11})
        assert Remote.objects.count() == before


class TestOneOfTwo:
    def test_a_sync_that_was_quicker_gives_way_to_ours(self, queued: QueuedAccount) -> None:
        data = message_bytes()
        (append,) = queued.append(queued.archive, data)
        queued.arrive(queued.archive, 10, data)
        theirs = queued.uids(queued.archive)[1]
        flagged = queued.store(queued.archive, "\\Flagged", uid=theirs)
        _settle(queued, queued.archive, {append: 10})
        (message,) = Message.objects.filter(mailbox=queued.archive)
        assert (message.uid, message.flags) == (1, 4)
        assert message.remote is not None
        assert message.remote.uid == 10
        flagged.refresh_from_db()
        assert flagged.message_id == message.pk
        change = Change.objects.filter(mailbox=queued.archive).order_by("-modseq")[0]
        assert (change.expunged, change.changed) == (str(theirs), "1")
        assert queued.uids(queued.archive) == [1]

    def test_it_gives_way_even_to_one_that_is_gone(self, queued: QueuedAccount) -> None:
        data = message_bytes()
        (append,) = queued.append(queued.archive, data)
        queued.expunge(queued.archive, 1)
        queued.arrive(queued.archive, 10, data)
        _settle(queued, queued.archive, {append: 10})
        assert queued.uids(queued.archive) == []

    def test_what_the_upstream_had_before_stays_and_ours_gives_way(self, queued: QueuedAccount) -> None:
        data = message_bytes()
        old = queued.arrive(queued.archive, 5, data)
        (append,) = queued.append(queued.archive, data)
        ours = queued.uids(queued.archive)[-1]
        flagged = queued.store(queued.archive, "\\Flagged", uid=ours)
        _settle(queued, queued.archive, {append: 5})
        assert queued.uids(queued.archive) == [old.uid]
        old.refresh_from_db()
        flagged.refresh_from_db()
        assert (old.flags, flagged.message_id, flagged.remote_id) == (4, old.pk, old.remote_id)

    def test_deleting_the_second_of_two_that_are_one_deletes_nothing(self, queued: QueuedAccount) -> None:
        data = message_bytes()
        old = queued.arrive(queued.archive, 5, data)
        (append,) = queued.append(queued.archive, data)
        note_sent(fence=queued.fence, ids=[append.pk], noted=NOTED)
        queued.expunge(queued.archive, queued.uids(queued.archive)[-1])
        _settle(queued, queued.archive, {append: 5})
        assert not Mutation.objects.filter(kind="expunge").exists()
        assert queued.uids(queued.archive) == [old.uid]

    def test_two_appends_that_became_one_are_one_here(self, queued: QueuedAccount) -> None:
        data = message_bytes()
        appends = queued.append(queued.archive, data, data)
        _settle(queued, queued.archive, {appends[0]: 10, appends[1]: 10})
        assert queued.uids(queued.archive) == [1]
        assert not Mutation.objects.unsettled(queued.account.pk).exists()

    def test_what_was_to_be_expunged_and_is_put_there_again_stays(self, queued: QueuedAccount) -> None:
        data = message_bytes()
        queued.arrive(queued.archive, 5, data)
        queued.expunge(queued.archive, queued.uids(queued.archive)[0])
        (append,) = queued.append(queued.archive, data)
        _settle(queued, queued.archive, {append: 5})
        assert not Mutation.objects.filter(kind="expunge").exists()
        (message,) = Message.objects.filter(mailbox=queued.archive)
        assert message.remote is not None
        assert message.remote.uid == 5


class TestLater:
    def test_a_refused_mutation_waits_with_its_reason(self, queued: QueuedAccount) -> None:
        (append,) = queued.append(queued.archive, message_bytes())
        note_sent(fence=queued.fence, ids=[append.pk], noted=NOTED)
        append.refresh_from_db()
        assert (append.state, append.noted) == (MutationState.SENT, NOTED)
        at = timezone.now() + timedelta(minutes=1)
        retry_later(fence=queued.fence, ids=[append.pk], error="busy", next_try_at=at)
        append.refresh_from_db()
        assert (append.state, append.attempts, append.last_error, append.next_try_at) == (
            MutationState.SENT, 1, "busy", at,
        )  # fmt: skip
        retry_later(fence=queued.fence, ids=[append.pk], error="", next_try_at=at, counts=False, outcome_known=True)
        append.refresh_from_db()
        assert (append.state, append.attempts) == (MutationState.PENDING, 1)

    def test_what_was_accepted_is_never_to_be_sent_again(self, queued: QueuedAccount) -> None:
        (append,) = queued.append(queued.archive, message_bytes())
        note_sent(fence=queued.fence, ids=[append.pk], noted=NOTED)
        note_accepted(fence=queued.fence, ids=[append.pk])
        retry_later(fence=queued.fence, ids=[append.pk], error="", next_try_at=timezone.now(), outcome_known=True)
        append.refresh_from_db()
        assert (append.state, append.noted["accepted"]) == (MutationState.SENT, True)

    def test_what_settled_is_not_parked(self, queued: QueuedAccount) -> None:
        store = queued.store(queued.inbox, "\\Flagged", uid=1)
        settle_stores(fence=queued.fence, ids=[store.pk])
        park(fence=queued.fence, ids=[store.pk], reason="late")
        store.refresh_from_db()
        assert store.state == MutationState.SETTLED


class TestPurge:
    def test_what_settled_later_than_the_read_stays(self, queued: QueuedAccount) -> None:
        first = queued.store(queued.inbox, "\\Flagged", uid=1)
        settle_stores(fence=queued.fence, ids=[first.pk])
        before = queued.settlements()
        second = queued.store(queued.inbox, "$Later", uid=1)
        settle_stores(fence=queued.fence, ids=[second.pk])
        purge_settled(fence=queued.sync_fence, mailbox_id=queued.inbox.pk, settlements=before)
        assert list(Mutation.objects.values_list("pk", flat=True)) == [second.pk]

    def test_source_and_target_of_a_move_are_purged_by_themselves(self, queued: QueuedAccount) -> None:
        move = queued.move(1)
        _settle(queued, queued.archive, {move: 10})
        purge_settled(fence=queued.sync_fence, mailbox_id=queued.archive.pk, settlements=queued.settlements())
        assert list(Mutation.objects.values_list("kind", flat=True)) == ["expunge"]
        purge_settled(fence=queued.sync_fence, mailbox_id=queued.inbox.pk, settlements=queued.settlements())
        assert not Mutation.objects.exists()

    def test_what_is_still_there_after_its_expunge_is_shown_again(self, queued: QueuedAccount) -> None:
        expunge = queued.expunge(queued.inbox, 1)
        settle_expunges(fence=queued.fence, ids=[expunge.pk])
        purged = purge_settled(fence=queued.sync_fence, mailbox_id=queued.inbox.pk, settlements=queued.settlements())
        assert purged == 1
        assert not Remote.objects.filter(mailbox=queued.inbox, uid=1).exists()


class TestNames:
    def test_a_created_mailbox_has_its_upstream_name(self, queued: QueuedAccount) -> None:
        mailbox = create_mailbox(user_id=queued.account.user_id, account_id=queued.account.pk, name="New")
        settle_create(fence=queued.fence, mutation_id=queued.last().pk, upstream_name=b"INBOX.New", delimiter=".")
        mailbox.refresh_from_db()
        assert (bytes(mailbox.upstream_name or b""), mailbox.upstream_delimiter) == (b"INBOX.New", ".")
        purge_settled_names(fence=queued.sync_fence, settlements=queued.settlements())
        assert not Mutation.objects.exists()

    def test_a_name_that_another_mailbox_has_is_refused(self, queued: QueuedAccount) -> None:
        create_mailbox(user_id=queued.account.user_id, account_id=queued.account.pk, name="New")
        with pytest.raises(NameTaken):
            settle_create(fence=queued.fence, mutation_id=queued.last().pk, upstream_name=b"Archive", delimiter="/")
        assert queued.last().state == MutationState.PENDING

    def test_a_rename_takes_along_what_is_below(self, queued: QueuedAccount) -> None:
        Mailbox.objects.create(
            account=queued.account, name="Archive/Old", uidvalidity=77, upstream_name=b"Archive/Old",
            upstream_delimiter="/",
        )  # fmt: skip
        rename_mailbox(user_id=queued.account.user_id, mailbox_id=queued.archive.pk, name="Kept")
        settle_rename(fence=queued.fence, mutation_id=queued.last().pk, upstream_name=b"Kept")
        names = dict(Mailbox.objects.filter(account=queued.account).values_list("name", "upstream_name"))
        assert {name: bytes(raw or b"") for name, raw in names.items()} == {
            "INBOX": b"INBOX", "Kept": b"Kept", "Kept/Old": b"Kept/Old",
        }  # fmt: skip

    def test_a_tombstone_goes_with_all_that_is_left_of_it(self, queued: QueuedAccount) -> None:
        move = queued.move(1)
        _settle(queued, queued.archive, {move: 10})
        copy = queued.copy(2)
        store = queued.store(queued.archive, "\\Flagged", uid=1)
        delete_mailbox(user_id=queued.account.user_id, mailbox_id=queued.archive.pk)
        delete = queued.last()
        settle_delete(fence=queued.fence, mutation_id=delete.pk)
        assert not Mailbox.objects.filter(pk=queued.archive.pk).exists()
        left = dict(Mutation.objects.values_list("pk", "kind"))
        assert move.pk not in left
        assert copy.pk not in left
        assert store.pk not in left
        assert sorted(left.values()) == ["delete", "expunge"]
        delete.refresh_from_db()
        assert (delete.mailbox_id, delete.state) == (None, MutationState.SETTLED)

    def test_what_was_moved_out_of_it_stays_protected(self, queued: QueuedAccount) -> None:
        (append,) = queued.append(queued.archive, message_bytes())
        _settle(queued, queued.archive, {append: 10})
        move_messages(
            user_id=queued.account.user_id, mailbox_id=queued.archive.pk, target_id=queued.inbox.pk, uids=EVERYTHING
        )
        move = queued.last()
        _settle(queued, queued.inbox, {move: 11})
        delete_mailbox(user_id=queued.account.user_id, mailbox_id=queued.archive.pk)
        settle_delete(fence=queued.fence, mutation_id=queued.last().pk)
        move.refresh_from_db()
        assert (move.mailbox_id, move.state) == (queued.inbox.pk, MutationState.SETTLED)
