"""Wanted bodies of accounts that no watcher holds: found by a sweep, fetched by a task over a connection of its own.

The rule: whoever holds an account's WATCH lease answers for its wants. A watcher holds it for as long as it watches;
where nobody does, the task takes it while it works. So a message is never fetched by both.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from random import Random

from celery import current_app
from django.utils import timezone
from kombu.exceptions import OperationalError

from mailcache.errors import LeaseLost, SealBroken
from mailcache.models import Account, LeaseKind, Listing
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.services.wanted import GivenUp, accounts_wanting, forget_old_wants, give_up
from sync.connection import new_holder
from sync.database_calls import DatabaseCalls
from sync.errors import NoConnectionFree
from sync.heartbeat import Heartbeat
from sync.lanes import Lane, slow_accounts
from sync.models import Purpose
from sync.services.slots import renew_slots
from sync.services.watchers import end_silent_leases
from sync.upstream.errors import AuthFailed, UpstreamError
from sync.wanted import SOON, WantedBodies
from sync.watch_connections import MayNotConnect, WatchConnections
from sync.watch_pace import LoginPace

logger = logging.getLogger(__name__)

FETCH_WANTED = "sync.tasks.urgent.fetch_wanted"
# The sweep asks again for as long as somebody waits.
MESSAGE_SECONDS = 5.0
_GIVEN_UP_AT_ONCE = 1000


def enqueue_wanted() -> int:
    """Enqueue the accounts with wants for which nobody answers; returns how many. Free while nobody waits."""
    forget_old_wants()
    return enqueue_unanswered(accounts_wanting())


def enqueue_unanswered(wanting: Mapping[int, str | None]) -> int:
    """Enqueue those of ``wanting`` that nobody holds, or a watcher that has died; returns how many."""
    held = [account_id for account_id, holder in wanting.items() if holder is not None]
    unanswered = [account_id for account_id, holder in wanting.items() if holder is None]
    if held:
        unanswered += end_silent_leases(account_ids=held)
    return sum(enqueue_fetch(account_id) for account_id in unanswered)


def enqueue_fetch(account_id: int) -> bool:
    """Send the task; False when the broker cannot be reached: the next sweep sends it again."""
    # A worker of the fast lane has no time for an upstream that keeps it waiting.
    queue = Lane.SLOW.value if slow_accounts([account_id], timezone.now()) else "urgent"
    try:
        current_app.send_task(FETCH_WANTED, args=[account_id], queue=queue, expires=MESSAGE_SECONDS, retry=False)
    except OperationalError as error:
        logger.warning("account %s: cannot enqueue the fetching of wanted messages: %s", account_id, error)
        return False
    return True


def fetch_wanted(account_id: int) -> bool:
    """Fetch what clients wait for of one account; False when somebody else answers, or no connection is free."""
    holder = new_holder()
    fence = leases.acquire(account_id=account_id, kind=LeaseKind.WATCH, holder=holder)
    if fence is None:
        return False
    try:
        return asyncio.run(_Fetch(fence, holder).run())
    except LeaseLost as error:
        logger.warning("account %s: %s", account_id, error)
        return False
    finally:
        leases.release(fence)


class _Fetch:
    """One task's work under the lease."""

    def __init__(self, fence: Fence, holder: str) -> None:
        self._fence = fence
        self._holder = holder
        self._database = DatabaseCalls()

    async def run(self) -> bool:
        """Fetch until nothing is wanted, or until it cannot be."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        if task is None:
            raise RuntimeError("not in a task")
        heartbeat = Heartbeat(self._fence, on_beat=self._renew_slots, abort=partial(_cancel, loop, task))
        try:
            with heartbeat:
                return await self._fetch()
        except asyncio.CancelledError:
            raise LeaseLost(f"the task for account {self._fence.account_id} lost its lease") from None
        finally:
            self._database.close()

    def _renew_slots(self) -> None:
        renew_slots(holder=self._holder)

    async def _fetch(self) -> bool:
        account_id = self._fence.account_id
        connections = WatchConnections(
            self._holder, database=self._database, slow=self._database, pace=LoginPace(), deadlines=Lane.FAST.deadlines
        )
        wanted = WantedBodies(self._fence, self._database, Random())  # noqa: S311 - jitter, not a secret
        try:
            async with connections.open(account_id, "", purpose=Purpose.BODIES) as connection:
                await wanted.fetch_all(connection.client, connection.door.profile)
        except NoConnectionFree:
            return False
        except MayNotConnect:
            await self._database.call(give_all_up, self._fence, "")
        except (AuthFailed, SealBroken) as error:
            await self._database.call(give_all_up, self._fence, str(error))
        except UpstreamError as error:
            logger.info("account %s: wanted messages could not be fetched: %s", account_id, error)
            await self._database.call(give_all_up, self._fence, str(error))
        return True


def _cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[object]) -> None:
    loop.call_soon_threadsafe(task.cancel)


def give_all_up(fence: Fence, reason: str) -> None:
    """Tell everybody who waits for bytes of an account that they are not to be had now."""
    account = Account.objects.get(pk=fence.account_id)
    if not reason:
        reason = account.state_reason or "the account is paused"
    rows = Listing.objects.filter(account=account, wanted_at__isnull=False)
    retry_at = timezone.now() + SOON
    messages = [
        GivenUp(remote_id, retry_at) for remote_id in rows.values_list("remote_id", flat=True)[:_GIVEN_UP_AT_ONCE]
    ]
    give_up(fence=fence, messages=messages, reason=reason, blame=False)
