"""Interleavings of sync, replay and other clients that may lose, double or bring back something, one test each.

Where an upstream has to misbehave for it the test is in ``test_misbehaviour.py``: one that rewrites bytes, one that
keeps each message once, two identical APPENDs to one that tells no UIDs. Every row of the merge table is in
``test_merge.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import pytest
from django.utils import timezone

from mailcache.flags import StoreMode
from mailcache.models import Account, BodyPolicy, Mailbox, Mutation
from mailcache.services.ingest_flags import apply_upstream_flags
from mailcache.services.ingest_list import ingest_mailbox_list
from mailcache.services.settle_creators import settle_creators
from mailcache.wire.number_set import NumberSet
from sync.numbering import open_mailbox
from tests.builders import message_bytes
from tests.fakes.capability_proxy import NO_CONDSTORE
from tests.fakes.chaos_proxy import Fault, Kind
from tests.sync.mirror import mirrored
from tests.sync.replay.hands import Hands

pytestmark = pytest.mark.dovecot

P = ParamSpec("P")
T = TypeVar("T")


def _once_before(function: Callable[P, T], act: Callable[[], object]) -> Callable[P, T]:
    """Return ``function`` with something that happens before its first call."""
    left = [act]

    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        while left:
            left.pop()()
        return function(*args, **kwargs)

    return wrapper


def _once_after(function: Callable[P, T], act: Callable[[], object]) -> Callable[P, T]:
    """Return ``function`` with something that happens after its first call."""
    left = [act]

    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        result = function(*args, **kwargs)
        while left:
            left.pop()()
        return result

    return wrapper


def _flags_here(hands: Hands, name: str = "INBOX") -> list[set[str]]:
    return [set(flags) for _, flags in mirrored(hands.account)[name]]


def _stir(hands: Hands) -> None:
    """Let a message come, so that the mailbox is looked at."""
    hands.dovecot.deliver(hands.user, message_bytes(), "INBOX")


def _let_time_pass(hands: Hands) -> None:
    Mutation.objects.filter(account=hands.account).update(next_try_at=timezone.now())


@pytest.fixture(autouse=True)
def _connections_for_both(account: Account) -> None:
    """Sync and replay work at the same time here."""
    Account.objects.filter(pk=account.pk).update(connection_limit=5)


@pytest.fixture(params=["full", "no-condstore"])
def hidden(request: pytest.FixtureRequest) -> frozenset[str]:
    """With QRESYNC, where EXAMINE tells what changed, and without, where all is read."""
    return NO_CONDSTORE if request.param == "no-condstore" else frozenset()


class TestStaleRead:
    """Sync reads, replay settles, sync ingests the stale read."""

    def test_flags_that_were_changed_here_stay(self, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
        hands.deliver(message_bytes())
        hands.others.store("+FLAGS", "\\Answered")
        hands.store("\\Flagged")
        _stir(hands)
        stale = _once_before(apply_upstream_flags, hands.replay)
        monkeypatch.setattr("sync.flags.apply_upstream_flags", stale)
        monkeypatch.setattr("sync.skeleton.apply_upstream_flags", stale)
        hands.sync()
        assert _flags_here(hands) == [{"\\Answered", "\\Flagged"}, set()]
        hands.sync()
        assert _flags_here(hands) == [set(flags) for _, flags in hands.there()] == [{"\\Answered", "\\Flagged"}, set()]

    def test_a_message_that_was_expunged_stays_away(self, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
        hands.deliver(message_bytes(), message_bytes())
        hands.delete(uids=NumberSet.from_numbers([1]))
        _stir(hands)
        monkeypatch.setattr("sync.compare.open_mailbox", _once_after(open_mailbox, hands.replay))
        hands.sync()
        assert hands.uids() == [2, 3]
        hands.sync()
        assert (hands.uids(), len(hands.there())) == ([2, 3], 2)
        assert hands.unsettled() == []

    def test_a_message_that_was_appended_stays_there(self, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
        hands.deliver(message_bytes())
        hands.append(message_bytes())
        _stir(hands)
        monkeypatch.setattr("sync.compare.open_mailbox", _once_after(open_mailbox, hands.replay))
        hands.sync()
        assert hands.uids() == [1, 2, 3]
        hands.sync()
        assert (hands.uids(), len(hands.there())) == ([1, 2, 3], 3)

    def test_a_change_upstream_after_ours_is_not_covered_up(self, hands: Hands) -> None:
        hands.deliver(message_bytes())
        hands.append(message_bytes())
        hands.replay()
        hands.store("\\Flagged", uids=NumberSet.from_numbers([2]))
        hands.replay()
        hands.others.store("-FLAGS", "\\Flagged")
        # The appended message is new to the comparison, and known.
        hands.sync()
        assert _flags_here(hands) == [set(), set()]

    @pytest.mark.parametrize("kind", ["create", "delete", "rename"])
    def test_a_list_that_was_read_before_a_change_of_names_settled_undoes_nothing(
        self, hands: Hands, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        hands.create("Old")
        hands.replay()
        hands.sync()
        if kind == "create":
            hands.create("New")
        elif kind == "delete":
            hands.remove("Old")
        else:
            hands.rename("Old", "New")
        names = set(Mailbox.objects.present(hands.account.pk).values_list("name", flat=True))
        stale = _once_before(ingest_mailbox_list, hands.replay)
        monkeypatch.setattr("sync.mailbox_list.ingest_mailbox_list", stale)
        hands.sync()
        assert set(Mailbox.objects.present(hands.account.pk).values_list("name", flat=True)) == names
        assert {name for name in hands.names_there() if name in ("Old", "New")} == names & {"Old", "New"}
        assert hands.unsettled() == []


class TestUnknownOutcome:
    def test_a_replayed_append_is_seen_upstream_before_its_appenduid_is_stored(
        self, hands: Hands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hands.deliver(message_bytes())
        data = message_bytes()
        (uid,) = hands.append(data)
        monkeypatch.setattr("sync.replay.append.settle_creators", _once_before(settle_creators, hands.sync))
        hands.replay()
        hands.sync()
        assert hands.uids() == [1, uid]
        assert [one for one, _ in hands.there()].count(data) == 1

    @pytest.mark.parametrize("kind", [Kind.CUT_BEFORE, Kind.CUT_AFTER])
    def test_two_intended_identical_appends_stay_two(self, hands: Hands, kind: Kind) -> None:
        hands.sync()
        data = message_bytes()
        hands.append(data, data)
        hands.proxy.arm(Fault(kind, "APPEND"))
        hands.replay()
        _let_time_pass(hands)
        hands.replay()
        hands.sync()
        assert [one for one, _ in hands.there()] == [data, data]
        assert hands.uids() == [1, 2]

    def test_a_mailbox_is_renamed_here_before_its_create_is_answered(self, hands: Hands) -> None:
        hands.sync()
        hands.create("Old")
        hands.append(message_bytes(), mailbox="Old")
        hands.rename("Old", "New")
        hands.proxy.arm(Fault(Kind.CUT_AFTER, "CREATE"), Fault(Kind.CUT_BEFORE, "CREATE", number=2))
        hands.replay()
        hands.sync()
        _let_time_pass(hands)
        hands.replay()
        hands.sync()
        assert hands.unsettled() == []
        assert "Old" not in hands.names_there()
        assert len(hands.there("New")) == len(hands.uids("New")) == 1

    def test_a_mailbox_is_deleted_and_created_again_here_before_a_list_is_read(self, hands: Hands) -> None:
        hands.others.create("Work")
        hands.deliver(message_bytes(), mailbox="Work")
        hands.remove("Work")
        hands.create("Work")
        hands.sync()
        assert hands.uids("Work") == []
        hands.replay()
        hands.sync()
        assert hands.unsettled() == []
        assert (hands.uids("Work"), hands.there("Work")) == ([], [])


class TestFlagsOfCopies:
    def test_flags_that_a_copy_has_here_it_has_there_though_its_source_is_deleted(self, hands: Hands) -> None:
        hands.sync()
        hands.append(message_bytes(), flags=["\\Flagged"])
        hands.store("\\Seen", mode=StoreMode.REPLACE)
        hands.copy("Archive")
        hands.delete()
        hands.replay()
        hands.sync()
        assert [set(flags) for _, flags in hands.there("Archive")] == _flags_here(hands, "Archive") == [{"\\Seen"}]
        assert hands.there() == []

    def test_a_mark_for_deletion_is_not_copied_that_the_source_got_after_the_copy(self, hands: Hands) -> None:
        hands.deliver(message_bytes())
        hands.create("New")
        hands.copy("New")
        hands.store("\\Deleted")
        hands.replay()
        hands.sync()
        assert [set(flags) for _, flags in hands.there("New")] == _flags_here(hands, "New") == [set()]
        assert [set(flags) for _, flags in hands.there()] == _flags_here(hands, "INBOX") == [{"\\Deleted"}]

    def test_what_the_upstream_changes_of_the_source_meanwhile_is_seen_in_the_copy(self, hands: Hands) -> None:
        hands.deliver(message_bytes())
        hands.copy("Archive")
        hands.others.store("+FLAGS", "\\Draft")
        hands.sync()
        hands.replay()
        hands.sync()
        assert [set(flags) for _, flags in hands.there("Archive")] == _flags_here(hands, "Archive") == [{"\\Draft"}]

    @pytest.mark.parametrize("onwards", ["copy", "move"])
    def test_and_in_what_was_made_of_the_copy(self, hands: Hands, onwards: str) -> None:
        hands.others.create("Work")
        hands.deliver(message_bytes())
        hands.copy("Archive")
        getattr(hands, onwards)("Work", source="Archive")
        hands.others.store("+FLAGS", "\\Draft")
        hands.sync()
        hands.replay()
        hands.sync()
        assert [set(flags) for _, flags in hands.there("Work")] == _flags_here(hands, "Work") == [{"\\Draft"}]

    def test_a_copy_that_was_taken_away_has_flags_for_what_was_made_of_it(self, hands: Hands) -> None:
        hands.others.create("Work")
        hands.deliver(message_bytes(), flags=("\\Flagged",))
        hands.copy("Archive")
        hands.copy("Work", source="Archive")
        hands.delete(mailbox="Archive")
        hands.others.store("+FLAGS", "\\Deleted")
        hands.others.expunge()
        hands.replay()
        hands.sync()
        assert [set(flags) for _, flags in hands.there("Work")] == _flags_here(hands, "Work") == [{"\\Flagged"}]

    def test_what_a_client_changes_of_a_copy_is_not_in_what_was_copied_from_it_before(self, hands: Hands) -> None:
        hands.others.create("Work")
        hands.deliver(message_bytes())
        hands.copy("Archive")
        hands.copy("Work", source="Archive")
        hands.store("\\Flagged", mailbox="Archive")
        hands.others.store("+FLAGS", "\\Deleted")
        hands.others.expunge()
        hands.replay()
        hands.sync()
        assert [set(flags) for _, flags in hands.there("Archive")] == _flags_here(hands, "Archive") == [{"\\Flagged"}]
        assert [set(flags) for _, flags in hands.there("Work")] == _flags_here(hands, "Work") == [set()]

    def test_nor_is_what_it_changes_of_the_source_whose_bytes_have_yet_to_come(self, hands: Hands) -> None:
        self._fetch_bodies(hands, BodyPolicy.ON_DEMAND)
        hands.deliver(message_bytes())
        hands.copy("Archive")
        hands.store("\\Flagged")
        hands.others.store("+FLAGS", "\\Answered")
        hands.sync()
        hands.replay()
        self._fetch_bodies(hands, BodyPolicy.ALL)
        hands.sync()
        assert [set(flags) for _, flags in hands.there("Archive")] == _flags_here(hands, "Archive")
        assert _flags_here(hands, "Archive") == [{"\\Answered"}]

    @staticmethod
    def _fetch_bodies(hands: Hands, policy: BodyPolicy) -> None:
        hands.account.body_policy = policy
        hands.account.save(update_fields=["body_policy"])


class TestParked:
    def test_a_store_behind_a_parked_rename_is_replayed(self, hands: Hands) -> None:
        hands.deliver(message_bytes(), mailbox="Archive")
        hands.rename("Archive", "Kept")
        hands.proxy.arm(Fault(Kind.NO, "RENAME", text="[CANNOT] not this one"))
        hands.store("\\Flagged", mailbox="Kept")
        hands.replay()
        assert [(kind, state) for kind, state, _ in hands.unsettled()] == [("rename", "parked")]
        assert [set(flags) for _, flags in hands.there("Archive")] == [{"\\Flagged"}]


class TestRenumbered:
    def test_a_move_out_of_a_renumbered_mailbox_goes_on(self, hands: Hands) -> None:
        data = [message_bytes(), message_bytes()]
        hands.deliver(*data, mailbox="Archive")
        hands.move("INBOX", source="Archive", uids=NumberSet.from_numbers([1]))
        hands.others.renumber("Archive")
        hands.replay()
        hands.sync()
        _let_time_pass(hands)
        hands.replay()
        hands.sync()
        assert hands.unsettled() == []
        assert [one for one, _ in hands.there()] == [data[0]]
        assert [one for one, _ in hands.there("Archive")] == [data[1]]
        assert (hands.uids(), hands.uids("Archive")) == ([1], [2])

    def test_one_out_of_a_mailbox_that_was_deleted_here_as_well(self, hands: Hands) -> None:
        data = [message_bytes(), message_bytes()]
        hands.deliver(*data, mailbox="Archive")
        hands.move("INBOX", source="Archive", uids=NumberSet.from_numbers([1]))
        hands.remove("Archive")
        hands.others.renumber("Archive")
        hands.replay()
        assert [one for one, _ in hands.there()] == [data[0]]
        # It may be another mailbox of that name: nobody deletes what nobody has seen.
        assert [(kind, state) for kind, state, _ in hands.unsettled()] == [("delete", "parked")]

    @pytest.mark.parametrize("kind", [Kind.CUT_BEFORE, Kind.CUT_AFTER])
    def test_an_append_whose_outcome_is_unknown_is_looked_up_among_the_new_numbers(
        self, hands: Hands, kind: Kind
    ) -> None:
        old, new = message_bytes(), message_bytes()
        hands.deliver(old, mailbox="Archive")
        hands.append(new, mailbox="Archive")
        # What comes after the cut would be looked up at once.
        hands.proxy.arm(Fault(kind, "APPEND"), *(Fault(Kind.CUT_BEFORE, "SELECT", number=one) for one in range(1, 6)))
        hands.replay()
        hands.proxy.disarm()
        hands.others.renumber("Archive")
        hands.sync()
        _let_time_pass(hands)
        hands.replay()
        hands.sync()
        assert hands.unsettled() == []
        assert sorted(one for one, _ in hands.there("Archive")) == sorted([old, new])
        assert len(hands.uids("Archive")) == 2


class TestDeletedAboveOthers:
    def test_mail_for_a_mailbox_that_is_still_listed_arrives(self, hands: Hands) -> None:
        for name in ("Work", "Work/Old"):
            hands.others.create(name)
        hands.sync()
        hands.append(message_bytes(), mailbox="Work")
        hands.others.delete("Work")
        hands.replay()
        assert hands.unsettled() == []
        assert len(hands.there("Work")) == 1


class TestRenamedThere:
    def test_mail_for_a_mailbox_that_is_made_again_is_shown_once(self, hands: Hands) -> None:
        """The one before goes on under another name: it is not taken for the new one, whose mail it would show."""
        hands.others.create("Play")
        hands.sync()
        hands.append(message_bytes(), mailbox="Play")
        hands.rename("Play", "Here")
        hands.others.rename("Play", "Elsewhere")
        hands.replay()
        hands.sync()
        assert hands.unsettled() == []
        assert (hands.uids("Here"), hands.uids("Elsewhere")) == ([1], [])
        assert (len(hands.there("Here")), len(hands.there("Elsewhere"))) == (1, 0)
