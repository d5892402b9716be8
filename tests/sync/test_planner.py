"""The plan of a sync: what is new, changed and gone, and in which pieces it is fetched."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailcache.flags import FlagSet
from sync.planner import (
    FIRST_BATCH_BYTES,
    Waiting,
    are_headers_worthwhile,
    changed_flags,
    chunks,
    compare_uids,
    is_complete,
    mailbox_order,
    next_batch,
    next_limit,
)

UIDS = st.lists(st.integers(1, 2**32 - 1), unique=True)
SIZES = st.lists(st.integers(0, 9_000_000), max_size=60)
MB = 1024 * 1024


def batches(sizes: list[int], *, limit: int = 8 * MB, most: int = 500) -> list[list[Waiting]]:
    waiting = [Waiting(number, 1000 - number, size) for number, size in enumerate(sizes)]
    found = []
    start = 0
    while start < len(waiting):
        batch = list(next_batch(waiting, start, limit=limit, alone_above=4 * MB, most=most))
        found.append(batch)
        start += len(batch)
    return found


@given(UIDS, UIDS)
def test_a_difference_accounts_for_every_uid_once(upstream: list[int], here: list[int]) -> None:
    new, kept, gone = compare_uids(upstream, here)
    assert sorted(new + kept) == sorted(upstream)
    assert sorted(kept + gone) == sorted(here)
    assert new == sorted(new)
    assert gone == sorted(gone)


@given(UIDS, st.integers(1, 50))
def test_chunks_are_bounded_and_in_order(uids: list[int], size: int) -> None:
    pieces = list(chunks(uids, size))
    assert [uid for piece in pieces for uid in piece] == uids
    assert all(0 < len(piece) <= size for piece in pieces)


@given(SIZES, st.integers(1, 9 * MB), st.integers(1, 20))
def test_batches_are_bounded_and_lose_nothing(sizes: list[int], limit: int, most: int) -> None:
    found = batches(sizes, limit=limit, most=most)
    assert [message.size for batch in found for message in batch] == sizes
    for batch in found:
        assert 0 < len(batch) <= most
        assert len(batch) == 1 or sum(message.size for message in batch) <= limit
        assert len(batch) == 1 or all(message.size <= 4 * MB for message in batch)


def test_a_large_message_is_fetched_alone() -> None:
    assert [len(batch) for batch in batches([10, 10, 5 * MB, 10, 10])] == [2, 1, 2]


def test_an_incomplete_list_of_uids_is_noticed() -> None:
    assert is_complete(2, [4, 9])
    assert is_complete(2, [4, 9, 10])
    assert not is_complete(2, [4])
    assert not is_complete(1, [])


def test_only_flags_of_known_messages_that_differ_are_changes() -> None:
    seen, nothing = FlagSet.parse(["\\Seen"]), FlagSet()
    agreed = {1: nothing, 2: seen, 3: seen}
    assert changed_flags({1: seen, 2: seen, 3: nothing, 9: seen}, agreed) == {1: seen, 3: nothing}


def test_mailboxes_come_in_the_order_in_which_people_miss_them() -> None:
    names = [("junk", "Junk"), ("all", "All"), ("", "Work"), ("", "Ann"), ("drafts", "Drafts"), ("inbox", "INBOX")]
    assert [name for _, name in sorted(names, key=lambda pair: mailbox_order(*pair))] == [
        "INBOX", "Drafts", "Ann", "Work", "All", "Junk",
    ]  # fmt: skip


def test_batches_grow_while_they_are_quick_and_shrink_when_they_are_slow() -> None:
    limit = FIRST_BATCH_BYTES
    grown = next_limit(limit, seconds=0.1, full=True, largest=8 * MB)
    assert grown > limit
    assert next_limit(8 * MB, seconds=0.1, full=True, largest=8 * MB) == 8 * MB
    assert next_limit(limit, seconds=0.1, full=False, largest=8 * MB) == limit
    assert next_limit(8 * MB, seconds=60, full=True, largest=8 * MB) == 4 * MB
    assert next_limit(limit, seconds=60, full=True, largest=8 * MB) == limit


def test_headers_are_fetched_ahead_only_where_bodies_take_long() -> None:
    assert are_headers_worthwhile(1000 * MB, 1 * MB)
    assert not are_headers_worthwhile(10 * MB, 1 * MB)
