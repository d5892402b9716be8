"""Flags as values: tolerant reading, deltas that commute."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailcache.flags import FlagDelta, FlagSet, SystemFlag

_FLAGS = st.builds(
    FlagSet,
    st.integers(0, 31).map(SystemFlag),
    st.frozensets(st.sampled_from(["$Forwarded", "Work", "later"]), max_size=3),
)
_DELTAS = st.builds(FlagDelta, _FLAGS, _FLAGS).map(
    lambda delta: FlagDelta(delta.add, FlagSet().merged(add=delta.remove, remove=delta.add))
)


def test_reading_leaves_out_what_no_client_could_be_sent() -> None:
    flags = FlagSet.parse(["\\SEEN", "\\Recent", "\\*", "\\\\Seen", "NonJunk", "nonjunk", "two words", "", "wörk"])

    assert flags == FlagSet(SystemFlag.SEEN, frozenset({"NonJunk"}))


def test_rendering_is_sorted() -> None:
    assert FlagSet.parse(["b", "\\Seen", "a", "\\Answered"]).render() == b"\\Answered \\Seen a b"


def test_keywords_match_without_regard_to_case() -> None:
    delta = FlagDelta(remove=FlagSet.parse(["$forwarded"]))

    assert delta.apply(FlagSet.parse(["$Forwarded", "x"])) == FlagSet.parse(["x"])


@given(_FLAGS, _DELTAS, _DELTAS)
def test_a_delta_then_another_is_one_delta(flags: FlagSet, first: FlagDelta, second: FlagDelta) -> None:
    assert first.then(second).apply(flags) == second.apply(first.apply(flags))


@given(_FLAGS, _DELTAS)
def test_a_delta_applied_twice_changes_nothing_more(flags: FlagSet, delta: FlagDelta) -> None:
    assert delta.apply(delta.apply(flags)) == delta.apply(flags)
