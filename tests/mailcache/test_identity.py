"""Which message is which, as a pure rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcache.identity import Traits, emailid_of, is_same, pair, sample_matches, upstream_key

DATE = datetime(2024, 5, 17, 8, 30, tzinfo=UTC)
LATER = DATE + timedelta(seconds=1)

traits = st.builds(
    Traits,
    size=st.sampled_from([1, 2]),
    internal_date=st.sampled_from([DATE, LATER]),
    upstream_id=st.sampled_from(["", "a", "b"]),
    message_id=st.sampled_from([None, "", "<a>", "<b>"]),
)


@given(st.lists(traits, max_size=8), st.lists(traits, max_size=8))
def test_pairs_are_one_to_one_and_never_against_the_evidence(new: list[Traits], old: list[Traits]) -> None:
    pairs = pair(new, old)

    assert len(set(pairs.values())) == len(pairs)
    for index, other in pairs.items():
        one, two = new[index], old[other]
        by_id = one.upstream_id and one.upstream_id == two.upstream_id
        if not by_id:
            assert one.size == two.size
            assert not (one.message_id and two.message_id) or one.message_id == two.message_id


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.sampled_from(["<a>", "<b>"])), max_size=8))
def test_a_mailbox_is_found_again_in_order(rows: list[tuple[int, str]]) -> None:
    messages = [Traits(size, DATE, message_id=message_id) for size, message_id in rows]

    assert pair(messages, messages) == {index: index for index in range(len(messages))}


def test_the_date_decides_between_two() -> None:
    old = [Traits(1, DATE, message_id="<a>"), Traits(1, LATER, message_id="<a>")]

    assert pair(old[1:], old) == {0: 1}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Traits(1, DATE, "a"), Traits(2, LATER, "a"), True),
        (Traits(1, DATE, "a"), Traits(1, DATE, "b"), False),
        (Traits(1, DATE, "", "<a>"), Traits(2, LATER, "", "<a>"), True),
        (Traits(1, DATE, "", "<a>"), Traits(1, DATE, "", "<b>"), False),
        (Traits(1, DATE, "", "<a>"), Traits(1, DATE, "", ""), False),
        (Traits(1, DATE, "", "<a>"), Traits(1, DATE, "", None), True),
        (Traits(1, DATE), Traits(1, LATER), False),
    ],
)
def test_under_one_uid(one: Traits, other: Traits, same: bool) -> None:
    assert is_same(one, other) == is_same(other, one) == same


HERE = {uid: Traits(uid, DATE) for uid in range(1, 11)}


class TestSamples:
    """A server migration that kept UIDVALIDITY and numbered anew shows in a sample (quirk 41)."""

    def test_the_same(self) -> None:
        assert sample_matches(HERE, HERE)
        assert sample_matches(HERE, {uid: HERE[uid] for uid in range(1, 6)})

    def test_few_are_left(self) -> None:
        assert not sample_matches(HERE, {uid: HERE[uid] for uid in range(1, 5)})
        assert not sample_matches(HERE, {})

    def test_one_or_two_differ(self) -> None:
        shifted = {uid: Traits(99, DATE) for uid in (1, 2)}
        assert sample_matches(HERE, HERE | shifted)
        assert not sample_matches(HERE, HERE | shifted | {3: Traits(99, DATE)})


@pytest.mark.parametrize("raw", ["", "M1", "a-b_C", "x" * 63])
def test_ids_as_the_rfc_has_them_stay(raw: str) -> None:
    assert upstream_key(raw) == raw


@pytest.mark.parametrize("raw", ["x" * 64, "x" * 255, "a b", "é", "\ud800"])
def test_others_become_ids(raw: str) -> None:
    assert upstream_key(upstream_key(raw)) == upstream_key(raw) != raw
    assert len(emailid_of(upstream_key(raw))) <= 64
