"""Slots: connections to upstreams, counted across the whole fleet.

A slot is taken before a connection is dialled and given back after it was closed. Time is the database's; a slot that
is not renewed lapses, so a crash gives its connections back within ``SLOT_SECONDS``. Slots are counted under the lock
of the account's row and, where the host has a limit, of the host's row: two workers cannot both take the last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from mailcache.models import Account
from mailcache.services.rows import execute, fetch_all
from sync import limits
from sync.models import Purpose, UpstreamHost
from sync.profiles import Profile

SLOT_SECONDS = 30

_LOCK_ACCOUNT = "SELECT 1 FROM mailcache_account WHERE id = %(account)s FOR NO KEY UPDATE"
_NAME_HOST = "INSERT INTO sync_upstreamhost (name) VALUES (%(host)s) ON CONFLICT (name) DO NOTHING"
_LOCK_HOST = "SELECT 1 FROM sync_upstreamhost WHERE name = %(host)s FOR UPDATE"
_FORGET = {
    "account": "DELETE FROM sync_connectionslot WHERE account_id = %(account)s AND expires_at <= clock_timestamp()",
    "host": "DELETE FROM sync_connectionslot WHERE host = %(host)s AND expires_at <= clock_timestamp()",
}
_COUNT = {
    "account": "SELECT purpose, count(*) FROM sync_connectionslot WHERE account_id = %(account)s GROUP BY purpose",
    "host": "SELECT purpose, count(*) FROM sync_connectionslot WHERE host = %(host)s GROUP BY purpose",
}
_TAKE = """
    INSERT INTO sync_connectionslot (account_id, host, purpose, holder, created_at, expires_at)
    VALUES (%(account)s, %(host)s, %(purpose)s, %(holder)s, clock_timestamp(),
            clock_timestamp() + make_interval(secs => %(seconds)s))
    RETURNING id
"""
# One that has lapsed may be somebody else's by now.
_RENEW = """
    UPDATE sync_connectionslot SET expires_at = clock_timestamp() + make_interval(secs => %(seconds)s)
    WHERE holder = %(holder)s AND expires_at > clock_timestamp()
    RETURNING id
"""
_RELEASE = "DELETE FROM sync_connectionslot WHERE id = %(id)s"


@dataclass(frozen=True, slots=True)
class Slot:
    """The right to one connection."""

    id: int
    account_id: int
    host: str
    purpose: Purpose
    holder: str


class ConnectionLimits(NamedTuple):
    """How many connections an account may have, and all accounts at its host together (None: any number)."""

    account: int
    host: int | None


def connection_limits(account: Account, profile: Profile) -> ConnectionLimits:
    """Return the limits that hold for an account now."""
    is_crowded = account.crowded_until is not None and account.crowded_until > timezone.now()
    host = UpstreamHost.objects.filter(name=account.host.lower()).first()
    return ConnectionLimits(
        account=limits.account_limit(
            chosen=account.connection_limit,
            default=settings.UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT,
            profile=profile,
            crowded=account.crowded_limit if is_crowded else None,
        ),
        host=limits.host_limit(
            chosen=host.connection_limit if host else None,
            default=settings.UPSTREAM_CONNECTION_LIMIT_PER_HOST,
            profile=profile,
        ),
    )


@transaction.atomic
def acquire_slot(
    *,
    account_id: int,
    host: str,
    purpose: Purpose,
    holder: str,
    account_limit: int,
    host_limit: int | None,
) -> Slot | None:
    """Take a slot, or return None where the limits allow none now. ``holder`` names who renews it."""
    parameters: dict[str, Any] = {
        "account": account_id,
        "host": host.lower(),
        "purpose": purpose.value,
        "holder": holder,
        "seconds": SLOT_SECONDS,
    }
    fetch_all(_LOCK_ACCOUNT, parameters)
    if not limits.may_connect(purpose, _held("account", parameters), account_limit):
        return None
    if host_limit is not None:
        execute(_NAME_HOST, parameters)
        fetch_all(_LOCK_HOST, parameters)
        if not limits.host_allows(purpose, _held("host", parameters), host_limit):
            return None
    ((slot_id,),) = fetch_all(_TAKE, parameters)
    return Slot(slot_id, account_id, parameters["host"], purpose, holder)


@transaction.atomic
def renew_slots(*, holder: str) -> set[int]:
    """Prolong all slots of a holder; returns those that it still has. The others must be given up at once."""
    return {slot_id for (slot_id,) in fetch_all(_RENEW, {"holder": holder, "seconds": SLOT_SECONDS})}


@transaction.atomic
def release_slot(slot: Slot) -> None:
    """Give a slot back, after its connection was closed."""
    execute(_RELEASE, {"id": slot.id})


@transaction.atomic
def release_slots(*, holder: str) -> None:
    """Give back all slots of a holder, after its connections were closed."""
    execute("DELETE FROM sync_connectionslot WHERE holder = %(holder)s", {"holder": holder})


def release_refused_slot(slot: Slot) -> int:
    """Give back the slot of a connection that the upstream refused; returns how many others the account has.

    In the caller's transaction, which has locked the account: of several that are refused at the same moment, the last
    counts none of them.
    """
    execute(_RELEASE, {"id": slot.id})
    return sum(_held("account", {"account": slot.account_id}).values())


def _held(of: str, parameters: dict[str, Any]) -> dict[str, int]:
    execute(_FORGET[of], parameters)
    return dict(fetch_all(_COUNT[of], parameters))
