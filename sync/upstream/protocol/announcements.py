"""Reads what an upstream tells by itself: changes of the open mailbox, and of others where NOTIFY is on."""

from __future__ import annotations

import re

from mailcache.wire.number_set import MAX_NUMBER, NumberSet
from sync.upstream.protocol.fetch_items import read_fetch
from sync.upstream.protocol.listed import read_list, read_status
from sync.upstream.protocol.responses import Untagged
from sync.upstream.values import NO_NUMBERS, NO_SECTIONS, FetchedMessage, IdleEvent, IdleKind

MAX_VANISHED_RANGES = 500_000
# Of each of up to a thousand announcements that wait.
_MAX_ANNOUNCED_RANGES = 1_000
_VANISHED = re.compile(rb"\s*(\(EARLIER\))?\s*([\d:,]*)\s*\Z", re.IGNORECASE)
FETCHES = frozenset({b"FETCH", b"UIDFETCH"})


def read_message(response: Untagged) -> FetchedMessage:
    """Read a FETCH or UIDFETCH response (RFC 9586 3.3); raises ``ValueError``."""
    number = response.number or 0
    if response.name == b"FETCH":
        return read_fetch(number, response.scanner())
    message = read_fetch(0, response.scanner())
    return message._replace(uid=number if 0 < number <= MAX_NUMBER else None)


def read_vanished(response: Untagged, *, max_ranges: int = MAX_VANISHED_RANGES) -> tuple[bool, NumberSet]:
    """Read VANISHED (RFC 7162 3.2.10): whether it is an EARLIER one, and the UIDs; raises ``ValueError``."""
    found = _VANISHED.match(response.scanner().rest())
    if found is None:
        raise ValueError("a VANISHED response that is no set of UIDs")
    return found[1] is not None, NumberSet.parse(found[2], max_ranges=max_ranges)


def read_announcement(response: Untagged) -> IdleEvent | None:
    """Return the event that a response tells of, None where it tells of none; raises ``ValueError``."""
    if response.name in FETCHES:
        return slim_event(read_message(response))
    if response.name in {b"EXISTS", b"EXPUNGE"}:
        return IdleEvent(IdleKind(response.name.decode("ascii")), response.number)
    if response.name == b"VANISHED":
        return IdleEvent(IdleKind.VANISHED, vanished=_announced_uids(response))
    if response.name == b"STATUS":
        name_raw, status = read_status(response.scanner())
        return IdleEvent(IdleKind.STATUS, name_raw=name_raw, status=status)
    if response.name == b"LIST":
        listed = read_list(response.scanner())
        return IdleEvent(IdleKind.LIST, name_raw=listed.name_raw, listed=listed)
    return None


def slim_event(message: FetchedMessage) -> IdleEvent:
    """Return the event of a FETCH response that nobody asked for, without what may be large in it."""
    slim = message._replace(sections=NO_SECTIONS, envelope_raw=None, bodystructure_raw=None)
    return IdleEvent(IdleKind.FETCH, message.seq, slim)


def _announced_uids(response: Untagged) -> NumberSet:
    try:
        return read_vanished(response, max_ranges=_MAX_ANNOUNCED_RANGES)[1]
    except ValueError:
        return NO_NUMBERS  # whoever waits still learns that something is gone
