"""The Date field (RFC 5322 3.3), as people's clocks and programs have written it."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_tz

_LONGEST = 200


def parse_date_field(value: bytes | None) -> datetime | None:
    """Return the moment in UTC, or None where no date can be made out. Never raises."""
    if value is None:
        return None
    text = " ".join(value[:_LONGEST].decode("ascii", errors="replace").split())
    try:
        parsed = parsedate_tz(text)
    except (ValueError, IndexError, OverflowError, TypeError):  # the standard library trips over some of them
        return None
    if parsed is None:
        return None
    year, month, day, hour, minute, second = parsed[:6]
    try:
        local = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
        moment = datetime.fromtimestamp(local.timestamp() - (parsed[9] or 0), tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if 1900 <= moment.year <= 9998 else None
