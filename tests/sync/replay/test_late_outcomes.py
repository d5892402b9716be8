"""Copies whose outcome is not known, whose bytes come late, or whose source is gone: nothing is lost or hidden."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from mailcache.flags import StoreMode
from mailcache.models import BodyPolicy, Message, Mutation
from mailcache.services.wanted import want_bodies
from mailcache.wire.number_set import NumberSet
from sync.models import Checkpoint
from tests.builders import message_bytes
from tests.fakes.chaos_proxy import Fault, Kind
from tests.sync.mirror import mirrored
from tests.sync.replay.hands import Hands

pytestmark = pytest.mark.dovecot

ONE = NumberSet.from_numbers([1])


def _fetch_bodies(hands: Hands, policy: BodyPolicy) -> None:
    hands.account.body_policy = policy
    hands.account.save(update_fields=["body_policy"])


class _Killed(BaseException):
    """The worker is no more."""


def _kill(**_: object) -> None:
    raise _Killed


def _let_time_pass(hands: Hands) -> None:
    Mutation.objects.filter(account=hands.account).update(next_try_at=timezone.now())


def _expunge_there(hands: Hands) -> None:
    hands.others.expunge()
    _believe_what_is_gone(hands)
    assert hands.uids() == []


def _believe_what_is_gone(hands: Hands) -> None:
    for _ in range(2):  # an empty mailbox is believed when it is seen twice
        hands.sync()
        Checkpoint.objects.update(gone_seen_at=timezone.now() - timedelta(minutes=1))


def _assert_same(hands: Hands, *names: str) -> None:
    here = mirrored(hands.account)
    for name in names:
        there = sorted((data, sorted(flags)) for data, flags in hands.there(name))
        assert sorted((data, sorted(flags)) for data, flags in here[name]) == there, name


class TestUnknownOutcomes:
    @pytest.mark.parametrize("text", ["[INUSE] later", "[OVERQUOTA] full", "no"])
    def test_a_move_that_is_refused_hides_no_new_mail(self, hands: Hands, text: str) -> None:
        hands.deliver(message_bytes(), mailbox="Archive")
        hands.move("INBOX", source="Archive")
        hands.proxy.arm(Fault(Kind.NO, "UID MOVE", text=text))
        hands.replay()
        new = message_bytes()
        hands.deliver(new)
        assert new in [data for data, _ in mirrored(hands.account)["INBOX"]]
        _let_time_pass(hands)
        hands.replay()
        hands.sync()
        assert hands.unsettled() == []
        _assert_same(hands, "INBOX", "Archive")

    def test_flags_of_a_message_that_was_moved_by_a_worker_that_died(
        self, hands: Hands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hands.deliver(message_bytes(), flags=("\\Seen",))
        hands.move("Archive")
        with monkeypatch.context() as patch:
            patch.setattr("sync.replay.transfer.settle_creators", _kill)
            with pytest.raises(_Killed):
                hands.replay()
        assert [state for _, state in hands.states()] == ["sent"]
        hands.sync()
        hands.others.store("+FLAGS", "\\Flagged", mailbox="Archive")
        hands.sync()
        _let_time_pass(hands)
        hands.replay()
        hands.sync()
        assert hands.there("Archive")[0][1] == {"\\Seen", "\\Flagged"}
        _assert_same(hands, "Archive")


class TestBytesThatComeLate:
    def test_a_copy_outlives_its_source_when_the_bytes_have_come(self, hands: Hands) -> None:
        _fetch_bodies(hands, BodyPolicy.ON_DEMAND)
        hands.deliver(data := message_bytes())
        hands.copy("Archive")
        want_bodies(user_id=hands.account.user_id, mailbox_id=hands.mailbox("INBOX").pk, uids=[1])
        hands.sync()
        _expunge_there(hands)
        assert [there for there, _ in mirrored(hands.account)["Archive"]] == [data]
        hands.replay()
        hands.sync()
        assert hands.unsettled() == []
        assert [there for there, _ in hands.there("Archive")] == [data]
        _assert_same(hands, "Archive")

    def test_what_was_moved_twice_is_where_the_first_move_put_it(self, hands: Hands) -> None:
        hands.others.create("Work")
        _fetch_bodies(hands, BodyPolicy.ON_DEMAND)
        hands.deliver(data := message_bytes())
        hands.move("Archive")
        hands.move("Work", source="Archive")
        hands.proxy.arm(Fault(Kind.NO, "UID MOVE", number=2, text="[INUSE] later"))
        hands.replay()
        hands.sync()
        assert Message.objects.filter(mailbox=hands.mailbox("Work")).count() == 1
        _let_time_pass(hands)
        hands.replay()
        _fetch_bodies(hands, BodyPolicy.ALL)
        hands.sync()
        assert hands.unsettled() == []
        assert [there for there, _ in hands.there("Work")] == [data]
        _assert_same(hands, "INBOX", "Archive", "Work")

    def test_what_was_moved_and_is_not_where_it_was_is_not_gone(
        self, hands: Hands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hands.others.create("Work")
        _fetch_bodies(hands, BodyPolicy.ON_DEMAND)
        hands.deliver(data := message_bytes())
        hands.move("Archive")
        hands.store("\\Flagged", mailbox="Archive")
        hands.move("Work", source="Archive")
        with monkeypatch.context() as patch:
            patch.setattr("sync.replay.transfer.settle_creators", _kill)
            with pytest.raises(_Killed):
                hands.replay()
        _believe_what_is_gone(hands)
        assert len(hands.uids("Work")) == 1
        _let_time_pass(hands)
        hands.replay()
        _fetch_bodies(hands, BodyPolicy.ALL)
        hands.sync()
        assert hands.unsettled() == []
        assert hands.there("Work") == [(data, frozenset({"\\Flagged"}))]
        _assert_same(hands, "INBOX", "Archive", "Work")


class TestSourcesThatAreGone:
    def test_a_move_out_of_a_mailbox_that_was_deleted_and_is_made_again(self, hands: Hands) -> None:
        hands.others.create("Work")
        hands.deliver(moved := message_bytes(), mailbox="Work")
        hands.others.delete("Work")
        hands.move("Archive", source="Work")
        hands.append(appended := message_bytes(), mailbox="Work")
        for _ in range(3):
            hands.replay()
            hands.sync()
            _let_time_pass(hands)
        assert hands.unsettled() == []
        assert [data for data, _ in hands.there("Archive")] == [moved]
        assert [data for data, _ in hands.there("Work")] == [appended]
        _assert_same(hands, "Archive", "Work")

    def test_a_mark_for_deletion_does_not_follow_to_another_copy(self, hands: Hands) -> None:
        data = message_bytes()
        hands.deliver(data)
        hands.deliver(data, mailbox="Archive")
        hands.store("\\Deleted", "\\Flagged", uids=ONE)
        _expunge_there(hands)
        hands.replay()
        hands.sync()
        assert hands.there("Archive")[0][1] == {"\\Flagged"}
        _assert_same(hands, "Archive")

    def test_one_alone_is_forgotten(self, hands: Hands) -> None:
        data = message_bytes()
        hands.deliver(data)
        hands.deliver(data, mailbox="Archive")
        hands.store("\\Deleted", uids=ONE, mode=StoreMode.ADD)
        _expunge_there(hands)
        assert not Mutation.objects.exists()
        _assert_same(hands, "Archive")
