"""Numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from imapped_site.units import age, decimal, octets, span

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_400_000_000, "1.4 GB"), (5 * 10**15, "5000.0 TB")],
)
def test_octets(number: int, text: str) -> None:
    assert octets(number) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (86_400, "1 d")])
def test_span(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_age() -> None:
    assert age(NOW, None) == "never"
    assert age(NOW, NOW - timedelta(minutes=5)) == "5 min ago"
    assert age(NOW, NOW + timedelta(hours=2)) == "in 2 h"


def test_decimal() -> None:
    assert decimal(1234567) == "1,234,567"
