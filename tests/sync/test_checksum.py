"""The checksum of a mailbox: what it must tell apart, and what it must not."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcache.flags import FlagSet
from sync.checksum import MailboxChecksum

KEY = b"0123456789abcdef"
Messages = dict[int, tuple[str, ...]]

messages = st.dictionaries(
    st.integers(1, 2**32 - 1),
    st.lists(st.sampled_from(["\\Seen", "\\Flagged", "\\Deleted", "Work", "$Junk"]), unique=True).map(tuple),
    max_size=20,
)


def of(items: Iterable[tuple[int, tuple[str, ...]]], key: bytes = KEY) -> tuple[int, int, int]:
    checksum = MailboxChecksum(key)
    for uid, flags in items:
        checksum.add(uid, FlagSet.parse(flags))
    return checksum.count, checksum.uids, checksum.flags


@given(messages, st.randoms(use_true_random=False))
def test_order_does_not_matter(found: Messages, random: object) -> None:
    items = list(found.items())
    shuffled = items[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined] # Hypothesis gives a random.Random
    assert of(items) == of(shuffled)


@given(messages, messages)
def test_equal_only_where_the_messages_are(first: Messages, second: Messages) -> None:
    def canonical(found: Messages) -> dict[int, frozenset[str]]:
        return {uid: frozenset(flags) for uid, flags in found.items()}

    assert (of(first.items())[2] == of(second.items())[2]) == (canonical(first) == canonical(second))
    assert (of(first.items())[1] == of(second.items())[1]) == (first.keys() == second.keys())


@pytest.mark.parametrize("flags", [("\\SEEN", "WORK"), ("work", "\\Seen"), ("\\Seen", "Work", "\\Recent")])
def test_spelling_is_no_difference(flags: tuple[str, ...]) -> None:
    assert of([(5, flags)]) == of([(5, ("\\Seen", "Work"))])


def test_the_key_matters() -> None:
    assert of([(5, ())]) != of([(5, ())], key=b"another key")
