"""Numbers as people read them."""

from __future__ import annotations

from datetime import datetime

_UNITS = ("B", "kB", "MB", "GB", "TB")
_SPANS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def decimal(number: int) -> str:
    """Return ``12345`` as ``12,345``."""
    return f"{number:,}"


def octets(number: int) -> str:
    """Return a size with its unit: ``1.4 GB``."""
    size = float(number)
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {_UNITS[-1]}"


def span(seconds: float) -> str:
    """Return a length of time in its largest unit: ``5 min``."""
    for size, unit in _SPANS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def age(now: datetime, moment: datetime | None) -> str:
    """Return how far away a moment is: ``5 min ago``, ``in 2 h``, ``never``."""
    if moment is None:
        return "never"
    seconds = (now - moment).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"
