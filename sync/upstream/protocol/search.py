"""UID SEARCH: by ESEARCH (RFC 4731) where offered, with what to do where it, or SEARCH itself, is refused."""

from __future__ import annotations

import re

from mailcache.wire.number_set import MAX_NUMBER, NumberSet
from sync.upstream.errors import CommandBad, CommandNo, ProtocolViolation, Severity
from sync.upstream.protocol.fetch_items import read_fetch
from sync.upstream.protocol.requests import Steps
from sync.upstream.protocol.responses import Untagged
from sync.upstream.protocol.session import Handlers, OnUntagged, Session

MAX_UIDS = 10_000_000
_ESEARCH_ALL = re.compile(rb"(?:\A|[ )])ALL ([\d:,]+)", re.IGNORECASE)
_CORRELATOR = re.compile(rb' *\(TAG (?:"[^"]*"|[^ )]+)\)', re.IGNORECASE)
_NUMBERS = re.compile(rb"[\d\s]*")
_MODSEQ = re.compile(rb"\(MODSEQ \d+\)\s*\Z", re.IGNORECASE)


def uid_search(session: Session, criteria: bytes) -> Steps[list[int]]:
    """Return the UIDs that ``criteria`` match, ascending; each once."""
    found = _Found()
    if session.offers("ESEARCH"):
        try:
            yield from _search(session, b"RETURN (ALL) " + criteria, found.esearch)
        except CommandBad:
            session.refused.add("ESEARCH")
        else:
            return found.uids()
    try:
        yield from _search(session, criteria, found.search)
    except (CommandBad, CommandNo) as error:
        if criteria.upper() != b"ALL" or (isinstance(error, CommandNo) and error.code not in {"", "CANNOT"}):
            raise
        # Some servers refuse SEARCH ALL (quirk 40); FETCH none does.
        yield from session.command("UID FETCH", b"1:* (UID)", Handlers(untagged=found.fetch), severity=Severity.MAILBOX)
    return found.uids()


def _search(session: Session, arguments: bytes, untagged: OnUntagged) -> Steps[None]:
    yield from session.command(
        "UID SEARCH",
        arguments,
        Handlers(untagged=untagged),
        severity=Severity.MAILBOX,
        patience=session.deadlines.login,
    )


class _Found:
    """Collects the UIDs that responses name."""

    def __init__(self) -> None:
        self._numbers: set[int] = set()
        self._ranges: list[tuple[int, int]] = []
        self._count = 0

    def uids(self) -> list[int]:
        """Return what was found, ascending."""
        if self._ranges:
            self._numbers.update(NumberSet(self._ranges))
        return sorted(number for number in self._numbers if 0 < number <= MAX_NUMBER)

    def esearch(self, response: Untagged) -> bool:
        """Take ``* ESEARCH (TAG "x") UID ALL 1:5``."""
        if response.name != b"ESEARCH":
            return False
        text = response.scanner().rest()
        match = _ESEARCH_ALL.search(_CORRELATOR.sub(b"", text))
        if match:
            self._add_set(match[1])
        return True

    def search(self, response: Untagged) -> bool:
        """Take ``* SEARCH 1 2 3``. What cannot be read is a fault: a UID that goes missing looks like a deletion."""
        if response.name != b"SEARCH":
            return False
        text = _MODSEQ.sub(b"", response.scanner().rest())
        if not _NUMBERS.fullmatch(text):
            raise ProtocolViolation("a SEARCH response that is no list of numbers")
        self._numbers.update(map(int, text.split()))
        return True

    def fetch(self, response: Untagged) -> bool:
        """Take ``* 1 FETCH (UID 1)``."""
        if response.name != b"FETCH":
            return False
        try:
            uid = read_fetch(response.number or 0, response.scanner()).uid
        except ValueError:
            raise ProtocolViolation("a FETCH response that cannot be read, in place of SEARCH") from None
        if uid is not None:
            self._numbers.add(uid)
        return True

    def _add_set(self, raw: bytes) -> None:
        try:
            numbers = NumberSet.parse(raw, max_ranges=MAX_UIDS)
        except ValueError:
            raise ProtocolViolation("an ESEARCH response that is no set of numbers") from None
        self._count += len(numbers)
        # One range may claim four thousand million messages.
        if self._count > MAX_UIDS:
            raise ProtocolViolation("an ESEARCH response names more messages than a mailbox can hold")
        self._ranges += numbers.ranges
