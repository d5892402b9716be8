"""Mutations that the upstream will not have, or nobody wants any more: recovered, retried, dropped, vanished."""

from __future__ import annotations

from mailcache.models import Mailbox, Mutation, MutationState, Remote
from mailcache.names import RECOVERED
from mailcache.services.mutation_control import drop_mutations, retry_mutations
from mailcache.services.recovered import recover_append
from mailcache.services.transfer import move_messages
from mailcache.services.vanished import settle_vanished
from tests.builders import message_bytes
from tests.mailcache.queued import EVERYTHING, QueuedAccount


class TestRecovered:
    def test_a_message_that_is_refused_for_good_is_kept_where_people_see_it(self, queued: QueuedAccount) -> None:
        (append,) = queued.append(queued.archive, message_bytes(), flags=["\\Seen"])
        recover_append(fence=queued.fence, mutation_id=append.pk, reason="too big")
        recovered = Mailbox.objects.get(account=queued.account, name=RECOVERED)
        assert (queued.uids(queued.archive), queued.uids(recovered)) == ([], [1])
        append.refresh_from_db()
        assert (append.state, append.last_error) == (MutationState.PARKED, "too big")
        assert not Mutation.objects.filter(kind="create").exists()

    def test_what_is_done_to_it_is_nobody_elses_affair(self, queued: QueuedAccount) -> None:
        (append,) = queued.append(queued.archive, message_bytes())
        recover_append(fence=queued.fence, mutation_id=append.pk, reason="too big")
        recovered = Mailbox.objects.get(account=queued.account, name=RECOVERED)
        queued.store(recovered, "\\Flagged", uid=1)
        assert list(Mutation.objects.values_list("pk", flat=True)) == [append.pk]
        queued.store(recovered, "\\Deleted", uid=1)
        queued.expunge(recovered, 1)
        assert not Mutation.objects.exists()
        assert queued.uids(recovered) == []

    def test_moved_out_it_is_offered_to_the_upstream_again(self, queued: QueuedAccount) -> None:
        (append,) = queued.append(queued.archive, message_bytes(), flags=["\\Seen"])
        recover_append(fence=queued.fence, mutation_id=append.pk, reason="too big")
        recovered = Mailbox.objects.get(account=queued.account, name=RECOVERED)
        move_messages(
            user_id=queued.account.user_id, mailbox_id=recovered.pk, target_id=queued.inbox.pk, uids=EVERYTHING
        )
        (again,) = Mutation.objects.all()
        assert (again.kind, again.target_id, again.content_id, again.state, again.add_flags) == (
            "append", queued.inbox.pk, append.content_id, MutationState.PENDING, 1,
        )  # fmt: skip

    def test_an_operator_retries_where_it_was_meant_to_be(self, queued: QueuedAccount) -> None:
        (append,) = queued.append(queued.archive, message_bytes())
        recover_append(fence=queued.fence, mutation_id=append.pk, reason="too big")
        assert retry_mutations(account_id=queued.account.pk, ids=[append.pk]) == 1
        recovered = Mailbox.objects.get(account=queued.account, name=RECOVERED)
        assert (queued.uids(queued.archive), queued.uids(recovered)) == ([2], [])
        append.refresh_from_db()
        assert (append.state, append.attempts) == (MutationState.PENDING, 0)

    def test_what_was_moved_on_is_offered_where_it_is_now(self, queued: QueuedAccount) -> None:
        (append,) = queued.append(queued.archive, message_bytes())
        move_messages(
            user_id=queued.account.user_id, mailbox_id=queued.archive.pk, target_id=queued.inbox.pk, uids=EVERYTHING
        )
        recover_append(fence=queued.fence, mutation_id=append.pk, reason="no such mailbox")
        (again,) = Mutation.objects.all()
        assert (again.kind, again.target_id, again.depends_on_id) == ("append", queued.inbox.pk, None)
        assert not Mailbox.objects.filter(name=RECOVERED).exists()


class TestDropped:
    def test_what_was_to_be_expunged_comes_back(self, queued: QueuedAccount) -> None:
        expunge = queued.expunge(queued.inbox, 1)
        dropped = drop_mutations(account_id=queued.account.pk, ids=[expunge.pk])
        assert dropped.mailboxes == {queued.inbox.pk}
        assert not Remote.objects.filter(mailbox=queued.inbox, uid=1).exists()

    def test_a_move_is_undone(self, queued: QueuedAccount) -> None:
        move = queued.move(1)
        store = queued.store(queued.archive, "\\Flagged", uid=1)
        dropped = drop_mutations(account_id=queued.account.pk, ids=[move.pk])
        assert set(dropped.ids) == {move.pk, store.pk}
        assert queued.uids(queued.archive) == []
        assert not Remote.objects.filter(mailbox=queued.inbox, uid=1).exists()

    def test_an_appended_message_stays(self, queued: QueuedAccount) -> None:
        (append,) = queued.append(queued.archive, message_bytes())
        drop_mutations(account_id=queued.account.pk, ids=[append.pk])
        assert queued.uids(queued.archive) == [1]
        queued.store(queued.archive, "\\Seen", uid=1)
        assert not Mutation.objects.exists()


class TestVanished:
    def test_a_copy_whose_bytes_are_here_is_appended(self, queued: QueuedAccount) -> None:
        copy = queued.copy(1)
        settle_vanished(fence=queued.fence, ids=[copy.pk])
        copy.refresh_from_db()
        assert (copy.kind, copy.mailbox_id, copy.remote_id, copy.add_flags) == ("append", queued.archive.pk, None, 1)

    def test_one_without_bytes_goes(self, queued: QueuedAccount) -> None:
        copy = queued.copy(2)
        settle_vanished(fence=queued.fence, ids=[copy.pk])
        assert queued.uids(queued.archive) == []
        assert not Mutation.objects.exists()

    def test_a_move_gives_way_with_all_that_followed(self, queued: QueuedAccount) -> None:
        move = queued.move(1)
        queued.store(queued.archive, "\\Flagged", uid=1)
        settle_vanished(fence=queued.fence, ids=[move.pk])
        assert queued.uids(queued.archive) == []
        assert not Mutation.objects.exists()
