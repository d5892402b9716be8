"""Queries against a snapshot: every key equals a plain reading of RFC 3501 6.4.4, message by message."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcache.flags import FlagSet, SystemFlag
from mailcache.wire.number_set import SequenceSet
from search.match import match
from search.query import All, And, HasFlag, HasKeyword, ModSeq, Not, Or, Query, Recent, SequenceNumbers, Uids


@dataclass(frozen=True)
class _Messages:
    uids: Sequence[int]
    flag_indexes: Sequence[int]
    combinations: Sequence[FlagSet]
    recent_uid: int
    modseqs: Sequence[int] = ()


_COMBINATIONS = [
    FlagSet(),
    FlagSet(SystemFlag.SEEN),
    FlagSet(SystemFlag.SEEN | SystemFlag.FLAGGED, frozenset({"$Forwarded"})),
    FlagSet(SystemFlag.DELETED, frozenset({"$forwarded", "Work"})),
]
_MAILBOX = _Messages(
    array("I", [2, 3, 7, 11, 12]), array("I", [0, 1, 2, 3, 0]), _COMBINATIONS, 11, array("Q", [5, 1, 9, 2, 5])
)
_EMPTY = _Messages(array("I"), array("I"), [], recent_uid=1)


def _numbers(text: str) -> SequenceNumbers:
    return SequenceNumbers(SequenceSet.parse(text))


def _uids(text: str) -> Uids:
    return Uids(SequenceSet.parse(text))


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        (All(), [1, 2, 3, 4, 5]),
        (_numbers("2:3,5"), [2, 3, 5]),
        (_numbers("*"), [5]),
        (_numbers("4:99"), [4, 5]),
        (_numbers("99:*"), [5]),
        (_numbers("8:9"), []),
        (_uids("3:10"), [2, 3]),
        (_uids("1,4:6,8:10"), []),
        (_uids("100:*"), [5]),
        (_uids("1:4294967295"), [1, 2, 3, 4, 5]),
        (HasFlag(SystemFlag.SEEN), [2, 3]),
        (Not(HasFlag(SystemFlag.SEEN)), [1, 4, 5]),
        (HasFlag(SystemFlag.DRAFT), []),
        (Not(HasFlag(SystemFlag.DRAFT)), [1, 2, 3, 4, 5]),
        (HasKeyword("$FORWARDED"), [3, 4]),
        (Not(HasKeyword("work")), [1, 2, 3, 5]),
        (HasKeyword("unknown"), []),
        (ModSeq(5), [1, 3, 5]),
        (ModSeq(10), []),
        (Recent(), [4, 5]),
        (And((Recent(), Not(HasFlag(SystemFlag.DELETED)))), [5]),
        (And((HasFlag(SystemFlag.DRAFT), All())), []),
        (Or(_uids("2"), HasFlag(SystemFlag.FLAGGED)), [1, 3]),
        (Not(Not(Not(All()))), []),
    ],
)
def test_keys(query: Query, numbers: list[int]) -> None:
    assert [position + 1 for position in match(query, _MAILBOX)] == numbers


@pytest.mark.parametrize("query", [All(), _numbers("*"), _uids("1:*"), Recent(), Not(All()), HasFlag(SystemFlag.SEEN)])
def test_an_empty_mailbox_has_no_matches(query: Query) -> None:
    assert match(query, _EMPTY) == []


def test_more_combinations_than_fit_a_byte() -> None:
    combinations = [FlagSet(SystemFlag(0), frozenset({f"k{number}"})) for number in range(1000)]
    mailbox = _Messages(range(1, 2001), [number % 1000 for number in range(2000)], combinations, recent_uid=9999)

    assert match(HasKeyword("K777"), mailbox) == [777, 1777]
    assert len(match(Not(HasKeyword("k3")), mailbox)) == 1998


_ENDS = st.one_of(st.none(), st.integers(1, 40))
_SETS = st.builds(SequenceSet, st.lists(st.tuples(_ENDS, _ENDS), min_size=1, max_size=4).map(tuple))
_LEAVES: st.SearchStrategy[Query] = st.one_of(
    st.builds(All),
    st.builds(Recent),
    st.builds(HasFlag, st.sampled_from(list(SystemFlag))),
    st.builds(HasKeyword, st.sampled_from(["$Forwarded", "WORK", "none"])),
    st.builds(SequenceNumbers, _SETS),
    st.builds(Uids, _SETS),
    st.builds(ModSeq, st.integers(0, 10)),
)
_QUERIES = st.recursive(
    _LEAVES,
    lambda keys: st.one_of(
        st.builds(Not, keys),
        st.builds(Or, keys, keys),
        st.builds(And, st.lists(keys, min_size=1, max_size=4).map(tuple)),
    ),
    max_leaves=8,
)


@st.composite
def _mailboxes(draw: st.DrawFn) -> _Messages:
    uids = sorted(draw(st.sets(st.integers(1, 40), max_size=30)))
    indexes = draw(st.lists(st.integers(0, len(_COMBINATIONS) - 1), min_size=len(uids), max_size=len(uids)))
    modseqs = draw(st.lists(st.integers(1, 9), min_size=len(uids), max_size=len(uids)))
    return _Messages(
        array("I", uids), array("I", indexes), _COMBINATIONS, draw(st.integers(1, 41)), array("Q", modseqs)
    )


def _matches(query: Query, mailbox: _Messages, position: int) -> bool:
    """Tell by the definitions whether one message matches."""
    uid = mailbox.uids[position]
    flags = mailbox.combinations[mailbox.flag_indexes[position]]
    match query:
        case All():
            return True
        case SequenceNumbers(numbers):
            return position + 1 in numbers.resolve(len(mailbox.uids))
        case Uids(uids):
            return uid in uids.resolve(mailbox.uids[-1])
        case HasFlag(flag):
            return flag in flags.system
        case HasKeyword(keyword):
            return keyword.lower() in {one.lower() for one in flags.keywords}
        case ModSeq(at_least):
            return mailbox.modseqs[position] >= at_least
        case Recent():
            return uid >= mailbox.recent_uid
        case Not(key):
            return not _matches(key, mailbox, position)
        case And(keys):
            return all(_matches(key, mailbox, position) for key in keys)
        case Or(left, right):
            return _matches(left, mailbox, position) or _matches(right, mailbox, position)


@given(_QUERIES, _mailboxes())
def test_every_query_equals_its_definition(query: Query, mailbox: _Messages) -> None:
    expected = [position for position in range(len(mailbox.uids)) if _matches(query, mailbox, position)]

    assert match(query, mailbox) == expected
