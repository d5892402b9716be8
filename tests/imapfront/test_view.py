"""Snapshot and view: what a client is told is what happened, in numbers that it can follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapfront.snapshot import MessageRow, Snapshot
from imapfront.view import View
from mailcache.flags import FlagSet
from mailcache.wire.number_set import NumberSet, SequenceSet
from tests.proofs import scaled


def _row(uid: int, flags: int = 0, modseq: int = 1) -> MessageRow:
    return (uid, flags, "", modseq, 100, 0, 0)


def _snapshot(*uids: int) -> Snapshot:
    rows = [_row(uid) for uid in uids]
    return Snapshot.load(uidvalidity=1, uidnext=(uids[-1] if uids else 0) + 1, highestmodseq=1, messages=rows)


def _apply(
    snapshot: Snapshot,
    *,
    appeared: Sequence[int] = (),
    changed: Mapping[int, int] | None = None,
    expunged: Sequence[int] = (),
) -> None:
    modseq = snapshot.highestmodseq + 1
    rows = [_row(uid, flags, modseq) for uid, flags in (changed or {}).items()]
    rows += [_row(uid, 0, modseq) for uid in appeared]
    uidnext = max([snapshot.uidnext, *(uid + 1 for uid in appeared)])
    snapshot.apply(uidnext=uidnext, highestmodseq=modseq, expunged=NumberSet.from_numbers(expunged), messages=rows)


def test_updates_of_everything_at_once() -> None:
    snapshot = _snapshot(1, 5, 9, 12)
    view = View.of(snapshot, recent_uid=20)
    _apply(snapshot, appeared=[20, 21], changed={9: 1}, expunged=[5, 12])

    updates = view.sync(snapshot)

    assert updates.expunged == [4, 2]
    assert (updates.exists, updates.recent) == (4, 2)
    assert [view.uids[position] for position in updates.changed] == [9]
    assert not view.sync(snapshot)


def test_a_view_keeps_its_numbers_until_it_syncs() -> None:
    snapshot = _snapshot(1, 2, 3)
    view = View.of(snapshot, recent_uid=9)
    _apply(snapshot, expunged=[1])

    assert list(view.uids) == [1, 2, 3]
    assert snapshot.position(1) == -1
    view.sync(snapshot)
    assert list(view.uids) == [2, 3]


def test_numbers_and_uids_of_a_client() -> None:
    view = View.of(_snapshot(10, 20, 30), recent_uid=40)

    assert view.positions(SequenceSet.parse("2:*"), uid=False) == [range(1, 3)]
    assert view.positions(SequenceSet.parse("15:25,99"), uid=True) == [range(1, 2)]
    assert view.positions(SequenceSet.parse("500:*"), uid=True) == [range(2, 3)]
    assert View.of(_snapshot(), recent_uid=1).positions(SequenceSet.parse("1:*"), uid=True) == []


def test_flags_are_interned() -> None:
    snapshot = Snapshot.load(
        uidvalidity=1,
        uidnext=4,
        highestmodseq=1,
        messages=[(1, 1, "a b", 1, 0, 0, 0), (2, 1, "a b", 1, 0, 0, 0), (3, 0, "", 1, 0, 0, 0)],
    )

    assert snapshot.flags(2) == FlagSet.parse(["\\Seen", "a", "b"])
    assert len(snapshot.combinations) == 2
    assert snapshot.keywords() == ["a", "b"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.booleans()), max_size=60))
@pytest.mark.prove
@settings(max_examples=scaled(150, full=10_000), deadline=None)
def test_a_client_that_follows_the_responses_knows_the_mailbox(steps: list[tuple[int, int, bool]]) -> None:
    """A model client applies EXPUNGE and EXISTS as RFC 3501 says; its numbers always mean what the server means."""
    snapshot = _snapshot(1, 2, 3)
    view = View.of(snapshot, recent_uid=1)
    known: list[int | None] = [1, 2, 3]
    flags = dict.fromkeys((1, 2, 3), 0)
    for kind, which, sync in steps:
        present = list(snapshot.uids)
        if kind == 0:
            _apply(snapshot, appeared=[snapshot.uidnext])
        elif present and kind == 1:
            _apply(snapshot, expunged=[present[which % len(present)]])
        elif present:
            _apply(snapshot, changed={present[which % len(present)]: which % 32})
        if sync:
            _follow(view, snapshot, known, flags)
    _follow(view, snapshot, known, flags)
    assert known == list(snapshot.uids)
    assert all(flags.get(uid, 0) == int(snapshot.flags(uid).system) for uid in snapshot.uids if uid in flags)


def _follow(view: View, snapshot: Snapshot, known: list[int | None], flags: dict[int, int]) -> None:
    updates = view.sync(snapshot)
    for number in updates.expunged:
        del known[number - 1]
    if updates.exists is not None:
        assert updates.exists >= len(known)
        known += [None] * (updates.exists - len(known))
    assert len(known) == len(view)
    known[:] = list(view.uids)
    for position in updates.changed:
        uid = view.uids[position]
        flags[uid] = int(snapshot.flags(uid).system)
