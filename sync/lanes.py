"""Lanes: accounts whose upstream keeps workers waiting are synced by workers of their own.

Most upstreams answer at once, so a worker of the fast lane has little patience and a stuck account costs it seconds.
What is too slow for it is no failure: it goes to the slow lane for a while, where there are many slots and the
deadlines are generous (field notes 1, 3, 4, 10).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import Enum

from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Lower

from mailcache.models import Account
from sync.models import UpstreamHost
from sync.upstream.endpoint import Deadlines


class Lane(Enum):
    """Which workers sync an account; the value is the queue they take their tasks from."""

    FAST = "sync"
    SLOW = "bulk"

    @property
    def deadlines(self) -> Deadlines:
        """How long the upstream may keep a worker of this lane waiting."""
        return _DEADLINES[self]


_DEADLINES = {
    Lane.FAST: Deadlines(connect=10.0, tls=10.0, greeting=10.0, login=10.0, inactivity=20.0),
    Lane.SLOW: Deadlines(),
}


def slow_accounts(account_ids: Collection[int], now: datetime) -> set[int]:
    """Return which of these accounts are to be synced in the slow lane."""
    slow_host = UpstreamHost.objects.filter(name=OuterRef("host_name"), slow_until__gt=now)
    rows = Account.objects.filter(pk__in=account_ids).annotate(host_name=Lower(F("host")))
    return set(rows.filter(Q(slow_until__gt=now) | Exists(slow_host)).values_list("pk", flat=True))
