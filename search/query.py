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


Query = All | SequenceNumbers | Uids | HasFlag | HasKeyword | Recent | Not | And | Or
