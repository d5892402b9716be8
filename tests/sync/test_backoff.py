"""Pauses between tries."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from sync.backoff import account_delay, mailbox_delay, message_delay, spread

FAILURES = st.integers(1, 10_000)


@given(FAILURES, st.integers())
def test_an_upstream_that_was_away_is_tried_soon(failures: int, seed: int) -> None:
    seconds = account_delay(failures, Random(seed)).total_seconds()
    assert 1 <= seconds <= (60 if failures <= 10 else 900)


@given(FAILURES, st.integers())
def test_no_pause_is_for_ever(failures: int, seed: int) -> None:
    assert 1 <= mailbox_delay(failures, Random(seed)).total_seconds() <= 6 * 3600
    assert 1 <= message_delay(failures, Random(seed)).total_seconds() <= 86_400


def test_pauses_grow_and_differ() -> None:
    assert len({account_delay(10, Random(seed)) for seed in range(20)}) == 20
    assert max(account_delay(1, Random(seed)) for seed in range(50)).total_seconds() <= 5
    assert max(account_delay(30, Random(seed)) for seed in range(50)).total_seconds() > 400


def test_periodic_syncs_are_spread() -> None:
    pauses = [spread(3600, Random(seed)).total_seconds() for seed in range(100)]
    assert min(pauses) >= 2880
    assert max(pauses) <= 3600
    assert len(set(pauses)) == 100
