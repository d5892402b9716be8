"""The check before anything is removed, as a table."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sync.replay.identity import Known, Told, is_same, may_be

DATE = datetime(2024, 5, 17, tzinfo=UTC)
LATER = datetime(2024, 5, 18, tzinfo=UTC)
ID = "<a@example.test>"


def _told(*ids: str, size: int | None = 5, date: datetime | None = DATE, upstream_id: str = "") -> Told:
    return Told(1, frozenset(ids), size, date, upstream_id)


@pytest.mark.parametrize(
    ("known", "told", "exact", "expected"),
    [
        (Known(ID, 5, DATE), _told(ID), True, True),
        (Known(ID, 5, DATE), _told("<b@example.test>"), True, False),
        (Known(ID, 5, LATER), _told(ID), True, True),
        (Known(ID, 6, DATE), _told(ID), True, True),
        (Known(ID, 6, LATER), _told(ID), True, False),
        (Known(ID, 6, DATE), _told("<new@example.test>", ID), False, True),
        (Known(ID, 5, LATER), _told(ID), False, False),
        (Known(ID, None, None), _told(ID), True, False),
        (Known("", 5, DATE), _told(), True, True),
        (Known("", 5, DATE), _told(ID), True, False),
        (Known("", 5, LATER), _told(), True, False),
        (Known("", 6, DATE), _told(), True, False),
        (Known(None, 5, DATE), _told(ID), True, True),
        (Known(None, 5, None), _told(ID), True, False),
        (Known(ID, 5, DATE, "M1"), _told(ID, upstream_id="M2"), True, False),
        (Known(ID, 6, LATER, "M1"), _told("<b@example.test>", upstream_id="M1"), True, True),
        (Known(ID, 5, DATE, "M1"), _told(ID), True, True),
    ],
)
def test_whether_a_message_is_the_one_that_is_meant(known: Known, told: Told, exact: bool, expected: bool) -> None:
    assert is_same(known, told, exact_sizes=exact) is expected


@pytest.mark.parametrize(
    ("known", "told", "exact", "expected"),
    [
        (Known(ID, 5), _told(ID), True, True),
        (Known(ID, 6), _told(ID), True, False),
        (Known(ID, 6), _told(ID), False, True),
        (Known(ID, 5), _told(), True, False),
        (Known("", 5), _told(), True, True),
        (Known("", 5), _told(ID), True, False),
        (Known(None, 5), _told(ID), True, True),
        (Known(ID, 6, None, "M1"), _told(upstream_id="M1"), True, True),
    ],
)
def test_whether_a_message_may_be_the_copy_that_was_sent(known: Known, told: Told, exact: bool, expected: bool) -> None:
    assert may_be(known, told, exact_sizes=exact) is expected
