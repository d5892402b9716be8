"""UID SEARCH: by ESEARCH (RFC 4731) where offered, with what to do where it, or SEARCH itself, is refused."""

from __future__ import annotations

import re

from mailcache.wire.number_set import MAX_NUMBER, NumberSet
from sync.upstream.errors import CommandBad, CommandNo, ProtocolViolation, Severity, is_passing
from sync.upstream.protocol.announcements import FETCHES, read_message
from sync.upstream.protocol.requests import Steps
from sync.upstream.protocol.responses import Untagged
from sync.upstream.protocol.session import Handlers, OnUntagged, Session

MAX_UIDS = 10_000_000
# Stands among the refused capabilities for what is none.
_SEARCH_ALL = "SEARCH ALL"
_ESEARCH_ALL = re.compile(rb"(?:\A|[ )])ALL ([\d:,]+)", re.IGNORECASE)
_CORRELATOR = re.compile(rb' *\(TAG (?:"[^"]*"|[^ )]+)\)', re.IGNORECASE)
_NUMBERS = re.compile(rb"[\d\s]*")
_MODSEQ = re.compile(rb"\(MODSEQ \d+\)\s*\Z", re.IGNORECASE)


def uid_search(session: Session, criteria: bytes) -> Steps[list[int]]:
    """Return the UIDs that ``criteria`` match, ascending; each once."""
    everything = criteria.upper() == b"ALL"
    if everything and (not session.profile.uid_search_all or _SEARCH_ALL in session.refused):
        return (yield from _fetch_uids(session))

    def run(arguments: bytes) -> Steps[list[int]]:
        found = _Found()
        yield from _search(session, arguments, found.take)
        return found.uids()

    variants = [("ESEARCH", b"RETURN (ALL) " + criteria)] if session.offers("ESEARCH") else []
    try:
        return (yield from session.first_accepted([*variants, ("", criteria)], run))
    except (CommandBad, CommandNo) as error:
        if not everything or is_passing(error.code, error.text):
            raise
        if isinstance(error, CommandNo) and error.code not in {"", "CANNOT"}:
            raise
        found = yield from _fetch_uids(session)
        if isinstance(error, CommandBad):
            session.refuse(_SEARCH_ALL, error)
        return found


def _fetch_uids(session: Session) -> Steps[list[int]]:
    """Return all UIDs by FETCH, which no server refuses (quirk 40)."""
    found = _Found()
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

    def take(self, response: Untagged) -> bool:
        """Take either kind of answer: servers have been seen to give the other one (IMAP4rev2 has ESEARCH only)."""
        return self.esearch(response) or self.search(response)

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
        if response.name not in FETCHES:
            return False
        try:
            uid = read_message(response).uid
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
