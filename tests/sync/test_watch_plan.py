"""What is listened to, what counts as news, and how logins are spread."""

from __future__ import annotations

import pytest

from sync.watch_pace import LoginPace
from sync.watch_plan import INBOX, UNKNOWN, Numbers, WatchedMailbox, WatchPlan, extra_connections, has_changed

SEEN = Numbers(uidvalidity=7, uidnext=10, exists=3, highestmodseq=40)


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        (SEEN, False),
        (SEEN._replace(uidnext=11), True),
        (SEEN._replace(exists=2), True),
        (SEEN._replace(highestmodseq=41), True),
        (SEEN._replace(uidvalidity=8), True),
        # What the upstream does not tell proves nothing.
        (SEEN._replace(highestmodseq=None, uidnext=None), False),
    ],
)
def test_what_counts_as_news(now: Numbers, *, changed: bool) -> None:
    assert has_changed(SEEN, now) is changed
    assert has_changed(UNKNOWN, now)


def test_who_gets_a_connection_first() -> None:
    inbox = WatchedMailbox(1, b"INBOX", "inbox")
    trash, sent = WatchedMailbox(2, b"Trash", "trash"), WatchedMailbox(3, b"Sent", "sent")
    busy, everything = WatchedMailbox(4, b"Lists", last_arrival=9.0), WatchedMailbox(5, b"All Mail", "all")
    plan = WatchPlan.of([trash, sent, busy, everything, inbox])
    assert plan.main == inbox
    assert list(plan.others) == [everything, busy, sent, trash]
    assert plan.by_name()[INBOX] == inbox


@pytest.mark.parametrize(("limit", "extras"), [(1, 0), (2, 0), (3, 0), (4, 1), (5, 2)])
def test_workers_come_before_further_connections(limit: int, extras: int) -> None:
    assert extra_connections(limit, busy=False) == extras
    assert extra_connections(limit, busy=True) == 0


def test_logins_are_spread_by_host() -> None:
    now = [100.0]
    pace = LoginPace(10.0, clock=lambda: now[0])
    assert [round(pace.reserve("a"), 3) for _ in range(4)] == [0.0, 0.1, 0.2, 0.3]
    assert pace.reserve("b") == 0.0
    now[0] += 60.0
    assert pace.reserve("a") == 0.0
