"""The watchers of a fleet, who share the accounts evenly."""

from __future__ import annotations

from collections.abc import Collection

from django.db import transaction

from mailcache.models import LeaseKind
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
# Signs of life come every second.
_SILENT_SECONDS = 3
_END_SILENT = """
    UPDATE mailcache_lease AS lease SET expires_at = clock_timestamp()
    FROM sync_watcherprocess AS watcher
    WHERE lease.account_id = ANY(%(accounts)s) AND lease.kind = %(watch)s AND lease.expires_at > clock_timestamp()
      AND watcher.holder = lease.holder
      AND watcher.seen_at < clock_timestamp() - make_interval(secs => %(seconds)s)
    RETURNING lease.account_id
"""


@transaction.atomic
def show_life(*, holder: str) -> None:
    """Give a sign of life, and no more."""
    execute(_BEAT, {"holder": holder})


@transaction.atomic
def end_silent_leases(*, account_ids: Collection[int]) -> list[int]:
    """End the WATCH leases of watchers that give no sign of life, so that somebody else can answer; returns whose.

    One that was only held up finds its lease taken over and takes the account anew.
    """
    parameters = {"accounts": list(account_ids), "watch": LeaseKind.WATCH.value, "seconds": _SILENT_SECONDS}
    return [account_id for (account_id,) in fetch_all(_END_SILENT, parameters)]


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
