"""Dates of IMAP."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcache.wire.dates import format_date, format_date_time, parse_date, parse_date_time, parse_date_time_lenient

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9998, 1, 1), timezones=ZONES)  # noqa: DTZ001 - bounds


@given(MOMENTS)
def test_date_times_round_trip(moment: datetime) -> None:
    whole = moment.replace(microsecond=0)
    raw = format_date_time(whole)

    assert parse_date_time(raw.strip(b'"')) == whole
    assert parse_date_time_lenient(raw.strip(b'"')) == whole
    assert len(raw) == 28


@given(st.dates(date(1000, 1, 1)))
def test_dates_round_trip(day: date) -> None:
    assert parse_date(format_date(day)) == day


def test_spelling() -> None:
    moment = datetime(1996, 7, 7, 2, 44, 25, tzinfo=timezone(-timedelta(hours=7)))

    assert format_date_time(moment) == b'" 7-Jul-1996 02:44:25 -0700"'


@pytest.mark.parametrize(
    ("raw", "moment"),
    [
        (b" 7-Jul-1996 02:44:25 +0000", datetime(1996, 7, 7, 2, 44, 25, tzinfo=UTC)),
        (b"7-Jul-1996 02:44:25 +0000", datetime(1996, 7, 7, 2, 44, 25, tzinfo=UTC)),
        (b"17-JUL-1996 2:44:25 -0100", datetime(1996, 7, 17, 3, 44, 25, tzinfo=UTC)),
        (b"17-Jul-0102 02:44:25 +0000", datetime(2002, 7, 17, 2, 44, 25, tzinfo=UTC)),
        (b"17-Jul-96 02:44", datetime(1996, 7, 17, 2, 44, tzinfo=UTC)),
        (b"17-Jul-1996 02:44:25 GMT", datetime(1996, 7, 17, 2, 44, 25, tzinfo=UTC)),
        (b"17-Jul-1996 02:44:60 +0000", datetime(1996, 7, 17, 2, 44, 59, tzinfo=UTC)),
        (b"17-Jul-1996 02:44:25 +9999", datetime(1996, 7, 17, 2, 44, 25, tzinfo=UTC)),
        (b"31-Dec-9999 23:59:59 -0100", None),
        (b"01-Jan-0001 00:00:00 +0100", None),
        (b"01-Jan-0000 00:00:00 +0000", None),
        (b"30-Feb-2001 00:00:00 +0000", None),
        (b"17-Foo-1996 02:44:25 +0000", None),
        (b"", None),
        (b"yesterday", None),
    ],
)
def test_what_servers_send(raw: bytes, moment: datetime | None) -> None:
    assert parse_date_time_lenient(raw) == moment


@given(st.binary(max_size=40))
def test_lenient_never_raises(raw: bytes) -> None:
    moment = parse_date_time_lenient(raw)

    assert moment is None or moment.astimezone(UTC).tzinfo is UTC


@pytest.mark.parametrize("raw", [b"7-Jul-1996 02:44:25 +0000", b"17-Jul-1996 02:44:25", b"17-Jul-1996 24:44:25 +0000"])
def test_clients_have_to_be_exact(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - datetime has texts of its own
        parse_date_time(raw)


@pytest.mark.parametrize("raw", [b"1-Foo-2000", b"2000-01-01", b"31-Feb-2000", b""])
def test_what_is_no_date_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - date has texts of its own
        parse_date(raw)


def test_a_date_may_be_quoted() -> None:
    assert parse_date(b'"1-Feb-2000"') == date(2000, 2, 1)
