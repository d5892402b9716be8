"""Which accounts a watcher holds: its fair share, by lease, renewed in time, and given back."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from mailcache.models import Account, Lease, LeaseKind
from mailcache.services import leases
from mailcache.services.leases import LEASE_SECONDS, Fence
from sync.services.watchers import beat_watcher, leave_watchers

# So many new connections at once, and so many in all, are what one process takes.
_NEW_AT_ONCE = 200
_MOST = 5000
# Below this many connections the only one is a worker's.
_LEAST_CONNECTIONS = 2
# Whatever changes how an account is connected to.
_CONNECTED_BY = (
    "host", "port", "tls_mode", "username", "auth_method", "sealed_secret", "profile", "connection_limit",
)  # fmt: skip


class Held(NamedTuple):
    """An account that is watched here; another value of ``settings`` means another connection."""

    fence: Fence
    settings: tuple[object, ...]


class WatchLeases:
    """The WATCH leases of one process. All methods use the database and belong in its thread."""

    def __init__(self, holder: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._holder = holder
        self._clock = clock
        self._held: dict[int, Fence] = {}
        self._aside: dict[int, float] = {}
        self._renewed = clock()

    def take(self) -> Mapping[int, Held]:
        """Return what this process watches: its share, after it gave back what is above it and took what is free."""
        watchers = beat_watcher(holder=self._holder)
        now = self._clock()
        self._aside = {account_id: until for account_id, until in self._aside.items() if until > now}
        share = min(-(-watchable().count() // watchers), _MOST)
        self._settle(share)
        rows = watchable().filter(pk__in=self._held).values_list("pk", *_CONNECTED_BY)
        found = {pk: Held(self._held[pk], _plain(values)) for pk, *values in rows.iterator()}
        self.release(set(self._held) - set(found))
        return found

    def _settle(self, share: int) -> None:
        surplus = len(self._held) - share
        if surplus > 0:
            # What was taken last was watched for the shortest time.
            self.release(list(self._held)[-surplus:])
        room = min(_NEW_AT_ONCE, share - len(self._held))
        if room > 0:
            free = watchable().exclude(pk__in=[*self._held, *self._aside]).filter(~Exists(_leased()))
            taken = leases.acquire_all(
                account_ids=list(free.values_list("pk", flat=True)[:room]), kind=LeaseKind.WATCH, holder=self._holder
            )
            self._held |= {fence.account_id: fence for fence in taken}

    def renew(self) -> None:
        """Prolong all leases; those that have passed to somebody else are no longer held."""
        began = self._clock()
        kept = leases.renew_all(kind=LeaseKind.WATCH, holder=self._holder)
        # Taken, or given back, by a call that failed: nobody else could take them for as long as they are renewed.
        strays = [account_id for account_id, _ in kept if account_id not in self._held]
        if strays:
            leases.release_all(account_ids=strays, kind=LeaseKind.WATCH, holder=self._holder)
        self._held = {pk: fence for pk, fence in self._held.items() if (pk, fence.generation) in kept}
        self._renewed = began

    def drop_unless_renewed(self) -> None:
        """Hold nothing any more when the leases have run out because the database could not be reached."""
        if self._clock() - self._renewed > LEASE_SECONDS:
            self._held.clear()

    def held(self) -> Collection[int]:
        """Return the accounts held."""
        return self._held.keys()

    def release(self, account_ids: Iterable[int]) -> None:
        """Give accounts back."""
        mine = [account_id for account_id in account_ids if self._held.pop(account_id, None) is not None]
        if mine:
            leases.release_all(account_ids=mine, kind=LeaseKind.WATCH, holder=self._holder)

    def set_aside(self, account_id: int, seconds: float) -> None:
        """Give an account back that cannot be watched, and do not take it again for a while."""
        self._aside[account_id] = self._clock() + seconds
        self.release([account_id])

    def leave(self) -> None:
        """Give everything back: the process ends."""
        self.release(list(self._held))
        leave_watchers(holder=self._holder)


def watchable() -> QuerySet[Account]:
    """Return the accounts that a connection may be kept open for."""
    limit = Coalesce(F("connection_limit"), Value(settings.UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT))
    crowded = Q(crowded_until__gt=timezone.now(), crowded_limit__lt=_LEAST_CONNECTIONS)
    return Account.objects.syncable().alias(limit=limit).filter(limit__gte=_LEAST_CONNECTIONS).exclude(crowded)


def _leased() -> QuerySet[Lease]:
    return Lease.objects.filter(account_id=OuterRef("pk"), kind=LeaseKind.WATCH, expires_at__gt=Now())


def _plain(values: Iterable[object]) -> tuple[object, ...]:
    return tuple(bytes(value) if isinstance(value, memoryview) else value for value in values)
