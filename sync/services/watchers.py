"""The watchers of a fleet, who share the accounts evenly."""

from __future__ import annotations

from django.db import transaction

from mailcache.services.leases import LEASE_SECONDS
from mailcache.services.rows import execute, fetch_all

_BEAT = """
    INSERT INTO sync_watcherprocess (holder, seen_at) VALUES (%(holder)s, clock_timestamp())
    ON CONFLICT (holder) DO UPDATE SET seen_at = EXCLUDED.seen_at
"""
_FORGET = """
    DELETE FROM sync_watcherprocess WHERE id IN (
        SELECT id FROM sync_watcherprocess
        WHERE seen_at < clock_timestamp() - make_interval(secs => %(seconds)s) FOR UPDATE SKIP LOCKED
    )
"""


@transaction.atomic
def beat_watcher(*, holder: str) -> int:
    """Give a sign of life; returns how many watchers there are. One that died is counted as long as its leases last."""
    execute(_BEAT, {"holder": holder})
    execute(_FORGET, {"seconds": LEASE_SECONDS})
    ((count,),) = fetch_all("SELECT count(*) FROM sync_watcherprocess", {})
    return int(count)


@transaction.atomic
def leave_watchers(*, holder: str) -> None:
    """Be counted no more."""
    execute("DELETE FROM sync_watcherprocess WHERE holder = %(holder)s", {"holder": holder})
