"""Which accounts a watcher holds: leases taken, renewed in time, and given back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable

from django.db import Error as DatabaseError
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from mailcache.errors import LeaseLost
from mailcache.models import Account, Lease, LeaseKind
from mailcache.services import leases
from mailcache.services.leases import LEASE_SECONDS, Fence

logger = logging.getLogger(__name__)

# So many new connections at once, and so many in all, are what one process takes.
_NEW_AT_ONCE = 200
_MOST = 5000


class WatchLeases:
    """The WATCH leases of one process. All methods use the database and belong in its thread."""

    def __init__(self, holder: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._holder = holder
        self._clock = clock
        self._held: dict[int, tuple[Fence, float]] = {}

    def take(self) -> list[Account]:
        """Return all accounts that this process holds and that may be watched, after taking over some that are free."""
        free = Account.objects.syncable().exclude(pk__in=self._held).filter(~Exists(self._leased()))
        for account_id in free.values_list("pk", flat=True)[: max(0, min(_NEW_AT_ONCE, _MOST - len(self._held)))]:
            fence = leases.acquire(account_id=account_id, kind=LeaseKind.WATCH, holder=self._holder)
            if fence is not None:
                self._held[account_id] = (fence, self._clock())
        watchable = list(Account.objects.syncable().filter(pk__in=self._held))
        self.release(set(self._held) - {account.pk for account in watchable})
        return watchable

    def renew(self) -> None:
        """Prolong all leases; those that are lost, or could not be prolonged in time, are no longer held."""
        for account_id, (fence, renewed) in list(self._held.items()):
            began = self._clock()
            try:
                leases.renew(fence)
                self._held[account_id] = (fence, began)
            except LeaseLost:
                del self._held[account_id]
            except DatabaseError as error:
                logger.warning("cannot renew the lease of account %s: %s", account_id, error)
                if began - renewed > LEASE_SECONDS:
                    del self._held[account_id]

    def held(self) -> Collection[int]:
        """Return the accounts held."""
        return self._held.keys()

    def release(self, account_ids: Iterable[int]) -> None:
        """Give accounts back."""
        for account_id in account_ids:
            fence, _ = self._held.pop(account_id)
            leases.release(fence)

    def _leased(self) -> QuerySet[Lease]:
        return Lease.objects.filter(account_id=OuterRef("pk"), kind=LeaseKind.WATCH, expires_at__gt=Now())
