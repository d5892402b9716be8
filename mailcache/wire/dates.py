"""Dates of IMAP (RFC 3501 9: ``date-time``, ``date``). Pure."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(_MONTHS, start=1)}
_STRICT = re.compile(rb"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
# One-digit days, missing seconds, zones that are names, odd, or absent have all been seen (field note 44).
_LENIENT = re.compile(
    rb"\s*(\d{1,2})[- ]([A-Za-z]{3})[a-z]*[- ](\d{4}|\d\d)"
    rb"\s+(\d{1,2}):(\d\d)(?::(\d\d))?\s*(?:([+-])(\d{1,2}):?(\d\d))?"
)
_DATE = re.compile(rb"\"?(\d{1,2})-([A-Za-z]{3})-(\d{4})\"?")


def format_date_time(moment: datetime) -> bytes:
    """Return an aware datetime as a quoted ``date-time``: ``"17-Jul-1996 02:44:25 -0700"``."""
    minutes = (moment.utcoffset() or timedelta()) // timedelta(minutes=1)
    sign, minutes = ("-", -minutes) if minutes < 0 else ("+", minutes)
    day = f"{moment.day:2d}-{_MONTHS[moment.month - 1]}-{moment.year:04d}"
    clock = f"{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d}"
    return f'"{day} {clock} {sign}{minutes // 60:02d}{minutes % 60:02d}"'.encode("ascii")


def parse_date_time(raw: bytes) -> datetime:
    """Read a ``date-time`` (without its quotes); raises ``ValueError``."""
    match = _STRICT.fullmatch(raw)
    if match is None:
        raise ValueError(f"not a date-time: {raw[:40]!r}")
    return _moment(match)


def parse_date_time_lenient(raw: bytes) -> datetime | None:
    """Read what servers send as INTERNALDATE; None when no date can be made out. No zone is UTC."""
    match = _STRICT.fullmatch(raw) or _LENIENT.match(raw)
    if match is None:
        return None
    try:
        return _moment(match)
    except ValueError:
        return None


def format_date(day: date) -> bytes:
    """Return ``17-Jul-1996``."""
    return f"{day.day}-{_MONTHS[day.month - 1]}-{day.year:04d}".encode("ascii")


def parse_date(raw: bytes) -> date:
    """Read a ``date``, quoted or not; raises ``ValueError``."""
    match = _DATE.fullmatch(raw)
    if match is None:
        raise ValueError(f"not a date: {raw[:40]!r}")
    return date(int(match[3]), _month(match[2]), int(match[1]))


def _moment(match: re.Match[bytes]) -> datetime:
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
    years = int(year) + (0 if len(year) == 4 else 2000 if int(year) < 70 else 1900)
    # Seen: years counted from 1900, as in 0102 for 2002 (field note 44).
    years += 1900 if 100 <= years < 200 else 0
    # A leap second is told as the second before it: datetime knows none.
    seconds = min(int(second or 0), 59)
    zone = _zone(sign, zone_hours, zone_minutes)
    moment = datetime(years, _month(month), int(day), int(hour), int(minute), seconds, tzinfo=zone)
    # Its time in UTC, which everybody asks for sooner or later, must be within the calendar as well.
    if not 2 <= years <= 9998:
        raise ValueError(f"beyond the calendar: {moment}")
    return moment


def _month(name: bytes) -> int:
    number = _MONTH_NUMBERS.get(name.decode("ascii").lower())
    if number is None:
        raise ValueError(f"not a month: {name!r}")
    return number


@lru_cache(maxsize=1_000)
def _zone(sign: bytes | None, hours: bytes | None, minutes: bytes | None) -> timezone:
    if sign is None:
        return UTC
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    # Zones of a day and more have been seen; they say nothing, so the time is taken as UTC.
    if offset >= timedelta(hours=24):
        return UTC
    return timezone(-offset if sign == b"-" else offset)
