"""SEARCH queries as a tree (RFC 3501 6.4.4). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mailcache.flags import SystemFlag
from mailcache.wire.number_set import SequenceSet

MAX_DEPTH = 30
MAX_KEYS = 2000


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class SequenceNumbers:
    """Messages by their number in the client's view."""

    numbers: SequenceSet


@dataclass(frozen=True, slots=True)
class Uids:
    """Messages by UID."""

    uids: SequenceSet


@dataclass(frozen=True, slots=True)
class HasFlag:
    """Messages with a system flag."""

    flag: SystemFlag


@dataclass(frozen=True, slots=True)
class HasKeyword:
    """Messages with a keyword, compared without regard to case."""

    keyword: str


@dataclass(frozen=True, slots=True)
class ModSeq:
    """Messages that changed at this modseq or later (RFC 7162 3.1.5)."""

    at_least: int


@dataclass(frozen=True, slots=True)
class Recent:
    """Messages that are recent in this session."""


@dataclass(frozen=True, slots=True)
class Not:
    """Messages that do not match."""

    key: Query


@dataclass(frozen=True, slots=True)
class And:
    """Messages that match every key."""

    keys: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Messages that match one of two keys."""

    left: Query
    right: Query


Query = All | SequenceNumbers | Uids | HasFlag | HasKeyword | ModSeq | Recent | Not | And | Or


def asks_for_modseq(query: Query) -> bool:
    """True when a query has a MODSEQ key: its answer tells the highest modseq found."""
    match query:
        case ModSeq():
            return True
        case Not(key):
            return asks_for_modseq(key)
        case And(keys):
            return any(map(asks_for_modseq, keys))
        case Or(left, right):
            return asks_for_modseq(left) or asks_for_modseq(right)
        case _:
            return False
