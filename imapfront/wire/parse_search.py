"""SEARCH (RFC 3501 6.4.4): the keys that can be answered from flags and numbers."""

from __future__ import annotations

from mailcache.flags import SystemFlag
from mailcache.wire.number_set import SequenceSet
from mailcache.wire.scanner import Scanner, WireError
from search.query import (
    MAX_DEPTH,
    MAX_KEYS,
    All,
    And,
    HasFlag,
    HasKeyword,
    ModSeq,
    Not,
    Or,
    Query,
    Recent,
    SequenceNumbers,
    Uids,
)

_FLAGS = {
    b"ANSWERED": SystemFlag.ANSWERED,
    b"DELETED": SystemFlag.DELETED,
    b"DRAFT": SystemFlag.DRAFT,
    b"FLAGGED": SystemFlag.FLAGGED,
    b"SEEN": SystemFlag.SEEN,
}
_CHARSETS = {b"UTF-8", b"US-ASCII"}
_LATER = {
    *(b"BCC", b"BEFORE", b"BODY", b"CC", b"FROM", b"HEADER", b"LARGER", b"ON", b"SENTBEFORE", b"SENTON"),
    *(b"SENTSINCE", b"SINCE", b"SMALLER", b"SUBJECT", b"TEXT", b"TO"),
}


class UnknownCharset(WireError):
    """A CHARSET that is not understood (``[BADCHARSET]``)."""


class UnsupportedSearch(WireError):
    """A search key that exists, but is not answered by this server: BAD, and no sign of a broken client."""


def parse_search(scanner: Scanner) -> Query:
    """Read the search program after the space behind SEARCH."""
    if scanner.skip_word(b"CHARSET"):
        scanner.space()
        if scanner.astring().upper() not in _CHARSETS:
            raise UnknownCharset("the charset of a search is UTF-8 or US-ASCII")
        scanner.space()
    return _keys(scanner, _Budget(), depth=0)


class _Budget:
    def __init__(self) -> None:
        self.keys = MAX_KEYS

    def spend(self) -> None:
        self.keys -= 1
        if self.keys < 0:
            raise WireError("a search with too many keys")


def _keys(scanner: Scanner, budget: _Budget, *, depth: int) -> Query:
    keys = [_key(scanner, budget, depth=depth)]
    while scanner.skip(b" "):
        keys.append(_key(scanner, budget, depth=depth))
    return keys[0] if len(keys) == 1 else And(tuple(keys))


def _key(scanner: Scanner, budget: _Budget, *, depth: int) -> Query:
    budget.spend()
    if depth > MAX_DEPTH:
        raise WireError("a search nested too deeply")
    if scanner.skip(b"("):
        query = _keys(scanner, budget, depth=depth + 1)
        scanner.expect(b")")
        return query
    if scanner.peek().isdigit() or scanner.peek() == b"*":
        return SequenceNumbers(parse_sequence_set(scanner))
    name = scanner.atom().upper()
    if name in _FLAGS:
        return HasFlag(_FLAGS[name])
    if name.startswith(b"UN") and name[2:] in _FLAGS:
        return Not(HasFlag(_FLAGS[name[2:]]))
    return _other_key(name, scanner, budget, depth=depth)


def _other_key(name: bytes, scanner: Scanner, budget: _Budget, *, depth: int) -> Query:
    match name:
        case b"ALL":
            return All()
        case b"RECENT":
            return Recent()
        case b"NEW":
            return And((Recent(), Not(HasFlag(SystemFlag.SEEN))))
        case b"OLD":
            return Not(Recent())
        case b"UID":
            scanner.space()
            return Uids(parse_sequence_set(scanner))
        case b"KEYWORD" | b"UNKEYWORD":
            scanner.space()
            keyword = HasKeyword(scanner.atom().decode("ascii"))
            return keyword if name == b"KEYWORD" else Not(keyword)
        case b"MODSEQ":
            scanner.space()
            return ModSeq(_modseq(scanner))
        case b"NOT":
            scanner.space()
            return Not(_key(scanner, budget, depth=depth + 1))
        case b"OR":
            scanner.space()
            left = _key(scanner, budget, depth=depth + 1)
            scanner.space()
            return Or(left, _key(scanner, budget, depth=depth + 1))
    shown = name[:30].decode("ascii", errors="replace")
    if name in _LATER:
        raise UnsupportedSearch(f"SEARCH {shown} is not supported: this server searches by flags, numbers and UIDs")
    raise WireError(f"unknown search key {shown}")


def _modseq(scanner: Scanner) -> int:
    """Read a modseq; the name and kind of a metadata entry before it change nothing (RFC 7162 3.1.5)."""
    if scanner.peek() == b'"':
        scanner.quoted()
        scanner.space()
        if scanner.atom().lower() not in (b"all", b"priv", b"shared"):
            scanner.fail("all, priv or shared")
        scanner.space()
    return scanner.number(maximum=2**63 - 1)


def parse_sequence_set(scanner: Scanner) -> SequenceSet:
    """Read a ``sequence-set``."""
    raw = scanner.atom_of(b"0123456789*:,")
    try:
        return SequenceSet.parse(raw)
    except ValueError as error:
        raise WireError(str(error)) from None
