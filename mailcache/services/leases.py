"""Leases: one worker at a time syncs an account, one replays it, one watches it.

Time is the database's, so that clocks of workers need not agree. Taking a lease over raises its generation; whoever
held it before fails its next ``check`` and can do no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from mailcache.errors import LeaseLost
from mailcache.models import LeaseKind
from mailcache.services.rows import execute, fetch_all

LEASE_SECONDS = 30
RENEW_SECONDS = 10

_ACQUIRE = """
    INSERT INTO mailcache_lease AS lease (account_id, kind, holder, generation, expires_at)
    VALUES (%(account)s, %(kind)s, %(holder)s, 1, clock_timestamp() + make_interval(secs => %(seconds)s))
    ON CONFLICT (account_id, kind) DO UPDATE
    SET holder = EXCLUDED.holder, generation = lease.generation + 1, expires_at = EXCLUDED.expires_at
    WHERE lease.expires_at <= clock_timestamp()
    RETURNING generation
"""
_RENEW = """
    UPDATE mailcache_lease SET expires_at = clock_timestamp() + make_interval(secs => %(seconds)s)
    WHERE account_id = %(account)s AND kind = %(kind)s AND generation = %(generation)s AND holder = %(holder)s
"""
_RELEASE = """
    UPDATE mailcache_lease SET expires_at = clock_timestamp()
    WHERE account_id = %(account)s AND kind = %(kind)s AND generation = %(generation)s AND holder = %(holder)s
"""
# Shared by the transactions of one holder; whoever takes the lease over waits until they have committed.
_CHECK = """
    SELECT 1 FROM mailcache_lease
    WHERE account_id = %(account)s AND kind = %(kind)s AND generation = %(generation)s AND holder = %(holder)s
    FOR SHARE
"""

# The same for many accounts of one holder. In the order of accounts, so that two holders cannot block each other.
_ACQUIRE_ALL = """
    INSERT INTO mailcache_lease AS lease (account_id, kind, holder, generation, expires_at)
    SELECT account, %(kind)s, %(holder)s, 1, clock_timestamp() + make_interval(secs => %(seconds)s)
    FROM unnest(%(accounts)s::bigint[]) AS account
    ON CONFLICT (account_id, kind) DO UPDATE
    SET holder = EXCLUDED.holder, generation = lease.generation + 1, expires_at = EXCLUDED.expires_at
    WHERE lease.expires_at <= clock_timestamp()
    RETURNING account_id, generation
"""
_RENEW_ALL = """
    UPDATE mailcache_lease SET expires_at = clock_timestamp() + make_interval(secs => %(seconds)s)
    WHERE id IN (
        SELECT id FROM mailcache_lease WHERE kind = %(kind)s AND holder = %(holder)s ORDER BY id FOR NO KEY UPDATE
    )
    RETURNING account_id, generation
"""
_RELEASE_ALL = """
    UPDATE mailcache_lease SET expires_at = clock_timestamp()
    WHERE account_id = ANY(%(accounts)s) AND kind = %(kind)s AND holder = %(holder)s
"""


@dataclass(frozen=True, slots=True)
class Fence:
    """Proof of a lease, checked by every transaction that it allows."""

    account_id: int
    kind: LeaseKind
    holder: str
    generation: int

    def parameters(self) -> dict[str, Any]:
        """Return what the statements on this lease need."""
        return {
            "account": self.account_id,
            "kind": self.kind.value,
            "holder": self.holder,
            "generation": self.generation,
            "seconds": LEASE_SECONDS,
        }


def acquire(*, account_id: int, kind: LeaseKind, holder: str) -> Fence | None:
    """Take the lease, or return None while somebody else holds it. ``holder`` names a process and a task."""
    parameters = {"account": account_id, "kind": kind.value, "holder": holder, "seconds": LEASE_SECONDS}
    with transaction.atomic():
        rows = fetch_all(_ACQUIRE, parameters)
    return Fence(account_id, kind, holder, rows[0][0]) if rows else None


def renew(fence: Fence) -> None:
    """Extend the lease by ``LEASE_SECONDS`` from now; raises ``LeaseLost`` when it has passed to somebody else."""
    with transaction.atomic():
        if not execute(_RENEW, fence.parameters()):
            raise _lost(fence)


def release(fence: Fence) -> None:
    """Give the lease back; does nothing when it has passed to somebody else."""
    with transaction.atomic():
        execute(_RELEASE, fence.parameters())


def check(fence: Fence) -> None:
    """Make the running transaction fail with ``LeaseLost`` unless the lease is still held; keeps it until COMMIT."""
    if not fetch_all(_CHECK, fence.parameters()):
        raise _lost(fence)


def acquire_all(*, account_ids: Sequence[int], kind: LeaseKind, holder: str) -> list[Fence]:
    """Take those of these accounts' leases that nobody holds."""
    parameters = {"accounts": sorted(account_ids), "kind": kind.value, "holder": holder, "seconds": LEASE_SECONDS}
    with transaction.atomic():
        rows = fetch_all(_ACQUIRE_ALL, parameters)
    return [Fence(account_id, kind, holder, generation) for account_id, generation in rows]


def renew_all(*, kind: LeaseKind, holder: str) -> set[tuple[int, int]]:
    """Extend all leases of a holder; returns account and generation of each that it still has."""
    with transaction.atomic():
        return set(fetch_all(_RENEW_ALL, {"kind": kind.value, "holder": holder, "seconds": LEASE_SECONDS}))


def release_all(*, account_ids: Sequence[int], kind: LeaseKind, holder: str) -> None:
    """Give back what a holder has of these leases."""
    with transaction.atomic():
        execute(_RELEASE_ALL, {"accounts": list(account_ids), "kind": kind.value, "holder": holder})


def _lost(fence: Fence) -> LeaseLost:
    return LeaseLost(f"the {fence.kind} lease of account {fence.account_id} has passed to somebody else")
