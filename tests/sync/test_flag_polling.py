"""When flags are read where nothing tells that they changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sync.flag_polling import ALL_LATEST, ALL_SOONEST, RECENT_LATEST, RECENT_SOONEST, FlagScope, scope_due

NOW = datetime(2024, 5, 17, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AGES = st.timedeltas(timedelta(), timedelta(days=40))


def due(*, recent: timedelta, everything: timedelta, changed: timedelta, stirred: bool = False) -> FlagScope:
    """Return what is due when it was last done so long ago."""
    return scope_due(
        now=NOW, recent_at=NOW - recent, all_at=NOW - everything, changed_at=NOW - changed, stirred=stirred
    )


def first_due(scope: FlagScope, *, quiet: timedelta) -> timedelta:
    """Return after how many minutes flags are due that were quiet for so long when they were last read."""
    return next(
        age
        for age in (MINUTE * count for count in range(2 * 24 * 60))
        if due(recent=age, everything=age, changed=age + quiet) >= scope
    )


def test_flags_that_were_never_read_are_due() -> None:
    assert scope_due(now=NOW, recent_at=None, all_at=None, changed_at=None) is FlagScope.ALL


def test_nothing_is_due_right_after() -> None:
    for quiet in (timedelta(), timedelta(days=30)):
        assert due(recent=timedelta(), everything=timedelta(), changed=quiet) is FlagScope.NONE


def test_intervals_grow_while_nothing_changes_and_shrink_after_a_change() -> None:
    quiets = [timedelta(), timedelta(hours=1), timedelta(hours=8), timedelta(days=1), timedelta(days=9)]
    everything = [first_due(FlagScope.ALL, quiet=quiet) for quiet in quiets]
    recent = [first_due(FlagScope.RECENT, quiet=quiet) for quiet in quiets]
    assert everything == sorted(everything)
    assert recent == sorted(recent)
    assert (everything[0], everything[-1]) == (ALL_SOONEST, ALL_LATEST)
    assert (recent[0], recent[-1]) == (RECENT_SOONEST, RECENT_LATEST)
    assert len(set(everything)) == 5


def test_a_mailbox_that_is_stirred_has_its_newest_flags_read_at_once() -> None:
    just_now = timedelta(seconds=1)
    assert due(recent=just_now, everything=just_now, changed=timedelta(days=9), stirred=True) is FlagScope.RECENT
    later = due(recent=just_now, everything=ALL_SOONEST, changed=timedelta(days=9), stirred=True)
    assert later is FlagScope.ALL


@given(AGES, AGES, AGES, st.booleans())
def test_no_flag_waits_for_longer_than_a_day(
    recent: timedelta, everything: timedelta, changed: timedelta, stirred: bool
) -> None:
    scope = due(recent=recent, everything=everything, changed=changed, stirred=stirred)
    if everything >= ALL_LATEST:
        assert scope is FlagScope.ALL
    if min(recent, everything) >= RECENT_LATEST:
        assert scope is not FlagScope.NONE
