"""The cheapest exact comparison, for each tier and each kind of news."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.tiers import FlagSource, Known, Membership, UpstreamState, plan, resync_point, state_of
from sync.upstream.values import MailboxStatus, Resync

KNOWN = Known(uidvalidity=7, uidnext=11, highestmodseq=100, older_highestmodseq=90, held=10)
STATE = UpstreamState(uidvalidity=7, uidnext=11, highestmodseq=100, exists=10)
PLAIN = replace(KNOWN, highestmodseq=None, older_highestmodseq=None)
PLAIN_STATE = replace(STATE, highestmodseq=None)


class TestUnchanged:
    def test_equal_counters_and_modseq_leave_nothing_to_ask(self) -> None:
        found = plan(KNOWN, STATE)
        assert (found.membership, found.flags) == (Membership.SAME, FlagSource.SAME)
        assert found.is_known

    def test_without_condstore_flags_are_polled(self) -> None:
        found = plan(PLAIN, PLAIN_STATE)
        assert (found.membership, found.flags) == (Membership.SAME, FlagSource.POLLED)

    @pytest.mark.parametrize("held", [0, 9, 11])
    def test_another_number_of_messages_is_never_unchanged(self, held: int) -> None:
        # Field note 24: killed in the middle, and "unchanged" ever after.
        for known, state in ((KNOWN, STATE), (PLAIN, PLAIN_STATE)):
            assert plan(replace(known, held=held), state).membership is Membership.LISTED

    @pytest.mark.parametrize("doubt", ["doubtful", "full_wanted"])
    def test_nothing_is_proved_while_something_is_in_doubt(self, doubt: str) -> None:
        known = replace(KNOWN, **{doubt: True})
        assert plan(known, STATE, resynced=True).membership is Membership.LISTED

    def test_a_comparison_of_everything_reads_all_flags(self) -> None:
        known = replace(KNOWN, full_wanted=True)
        assert plan(known, STATE).flags is FlagSource.ALL
        assert resync_point(known) is None


class TestNews:
    def test_few_new_uids_are_fetched_without_a_search(self) -> None:
        found = plan(KNOWN, replace(STATE, uidnext=31, exists=30, highestmodseq=120))
        assert (found.membership, list(found.new)) == (Membership.GROWN, list(range(11, 31)))
        assert (found.flags, found.since) == (FlagSource.SINCE, 100)

    def test_many_new_uids_may_have_few_messages(self) -> None:
        # Field note 16: chunks are of messages, never of a span of UIDs.
        found = plan(KNOWN, replace(STATE, uidnext=20_000, exists=12, highestmodseq=120))
        assert found.membership is Membership.LISTED

    def test_new_and_gone_together_need_the_list(self) -> None:
        assert plan(KNOWN, replace(STATE, uidnext=12, highestmodseq=120)).membership is Membership.LISTED
        assert plan(PLAIN, replace(PLAIN_STATE, exists=9)).membership is Membership.LISTED

    def test_qresync_tells(self) -> None:
        found = plan(KNOWN, replace(STATE, exists=9, highestmodseq=120), resynced=True)
        assert (found.membership, found.flags) == (Membership.TOLD, FlagSource.TOLD)

    def test_changed_flags_alone(self) -> None:
        found = plan(KNOWN, replace(STATE, highestmodseq=101))
        assert (found.membership, found.flags, found.since) == (Membership.SAME, FlagSource.SINCE, 100)
        assert plan(KNOWN, replace(STATE, highestmodseq=101), resynced=True).is_known


class TestUnreliableNumbers:
    def test_the_first_comparison_and_one_cut_off_need_the_list(self) -> None:
        assert plan(Known(), STATE).membership is Membership.LISTED
        cut_off = Known(uidvalidity=7, highestmodseq=80, held=4)
        found = plan(cut_off, STATE)
        assert (found.membership, found.flags, found.since) == (Membership.LISTED, FlagSource.SINCE, 80)

    @pytest.mark.parametrize("uidvalidity", [6, 8])
    def test_another_numbering_needs_everything_also_a_lower_one(self, uidvalidity: int) -> None:
        found = plan(KNOWN, replace(STATE, uidvalidity=uidvalidity))
        assert (found.membership, found.flags) == (Membership.LISTED, FlagSource.ALL)

    def test_numbers_that_went_back_prove_nothing(self) -> None:
        assert plan(KNOWN, replace(STATE, uidnext=9)).membership is Membership.LISTED
        found = plan(KNOWN, replace(STATE, highestmodseq=50), resynced=True)
        assert (found.membership, found.flags) == (Membership.LISTED, FlagSource.ALL)

    def test_a_modseq_that_is_new_says_nothing_of_the_time_before(self) -> None:
        assert plan(PLAIN, STATE).flags is FlagSource.ALL

    def test_a_connection_without_condstore_polls(self) -> None:
        assert plan(KNOWN, PLAIN_STATE).flags is FlagSource.POLLED

    def test_no_uidnext_is_no_proof(self) -> None:
        assert plan(KNOWN, replace(STATE, uidnext=None)).membership is Membership.LISTED
        empty = replace(STATE, uidnext=None, exists=0)
        assert plan(replace(KNOWN, held=0), empty).membership is Membership.SAME


class TestOverlap:
    """Quirk 2: HIGHESTMODSEQ may move before the change can be seen."""

    def test_a_modseq_that_has_just_moved_is_read_from_once_more(self) -> None:
        found = plan(KNOWN, STATE, overlap=True)
        assert (found.flags, found.since) == (FlagSource.SINCE, 90)
        settled = replace(KNOWN, older_highestmodseq=100)
        assert plan(settled, STATE, overlap=True).flags is FlagSource.SAME

    def test_resync_begins_there_too(self) -> None:
        assert resync_point(KNOWN) == Resync(7, 100)
        assert resync_point(KNOWN, overlap=True) == Resync(7, 90)
        assert resync_point(replace(KNOWN, uidnext=None)) is None
        assert resync_point(PLAIN) is None


def test_a_status_that_leaves_something_out_proves_nothing() -> None:
    assert state_of(MailboxStatus(10, 11, 7, 100)) == STATE
    assert state_of(MailboxStatus(10, 11, 7, None)) == PLAIN_STATE
    assert state_of(MailboxStatus(10, None, 7, 100)) is None
    assert state_of(MailboxStatus(10, 11, 0, 100)) is None
    assert state_of(MailboxStatus(None, 11, 7, 100)) is None


NUMBERS = st.integers(1, 600)


@given(known=st.sets(NUMBERS, min_size=1), gone=st.sets(NUMBERS), new=st.integers(0, 3), burnt=st.integers(0, 3))
def test_unchanged_is_said_of_equal_sets_only(known: set[int], gone: set[int], new: int, burnt: int) -> None:
    """Upstream histories: some messages go, UIDs are given to new ones, and to some that went at once."""
    uidnext = 601
    there = (known - gone) | set(range(uidnext + burnt, uidnext + burnt + new))
    state = UpstreamState(7, uidnext + burnt + new, None, len(there))
    found = plan(Known(uidvalidity=7, uidnext=uidnext, held=len(known)), state)
    if found.membership is Membership.SAME:
        assert there == known
    if found.membership is Membership.GROWN:
        assert there - known <= set(found.new)
