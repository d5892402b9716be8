"""Watching one account: the main connection, and further ones that idle on other mailboxes."""

from __future__ import annotations

import asyncio
import logging

from django.db import Error as DatabaseError

from mailcache.errors import LeaseLost, SealBroken
from mailcache.services.leases import Fence
from sync.backoff import account_delay
from sync.errors import NoConnectionFree
from sync.scheduling import replay_what_waits
from sync.services.watch_reads import load_plan
from sync.signals import Signal
from sync.upstream.errors import AuthFailed, UpstreamError, suggested_pause
from sync.wanted import WantedBodies
from sync.watch_connections import MayNotConnect
from sync.watch_context import WatchContext
from sync.watch_main import MainConnection

logger = logging.getLogger(__name__)

# Only a connection that lasted proves that the next failure is a new one (field notes, section 3: EmailEngine).
_SETTLED_SECONDS = 300.0
HOPELESS_SECONDS = 3600.0
# Somebody waits for bytes: the pause after a failure is cut short, but logins stay this far apart.
_LOGINS_APART_SECONDS = 5.0
# A fault of ours does not go away because somebody waits.
_OWN_FAULT_SECONDS = 60.0


class AccountWatch:
    """Watches one account for as long as ``run`` is running."""

    __slots__ = ("_context", "_host", "_is_waited_for", "_main", "_wanted", "account_id")

    def __init__(self, context: WatchContext, fence: Fence, host: str) -> None:
        self.account_id = fence.account_id
        self._context = context
        self._host = host
        self._wanted = WantedBodies(fence, context.slow, context.rng)
        self._is_waited_for = Signal()
        self._main: MainConnection | None = None

    def want(self) -> None:
        """A client waits for bytes of this account."""
        self.hurry()
        if self._main is not None:
            self._main.fetch_wanted()

    def hurry(self) -> None:
        """Cut a pause after a failure short: somebody waits for bytes, or the upstream is known to be back."""
        self._is_waited_for.set()

    def probe(self) -> None:
        """Find out whether the connections are still alive."""
        if self._main is not None:
            self._main.probe()

    async def run(self) -> None:
        """Watch until cancelled, connecting again and again."""
        failures = 0
        while True:
            began = self._context.clock()
            pause = asked_for = 0.0
            least = _LOGINS_APART_SECONDS
            try:
                await self._connected(after_failure=failures > 0)
            except AuthFailed as error:
                logger.warning("account %s: %s", self.account_id, error)
                # The sync notes it in the account, which ends the watching until the credentials change. Where it is
                # not refused itself, tasks answer who waits for bodies until this is tried again.
                self._context.requests.speak(self.account_id)
                self._context.cannot_watch(self.account_id)
                pause = HOPELESS_SECONDS
            except SealBroken as error:
                logger.warning("account %s is not watched: %s", self.account_id, error)
                self._context.cannot_watch(self.account_id)
                pause = HOPELESS_SECONDS
            except NoConnectionFree as error:
                logger.info("account %s is not watched now: %s", self.account_id, error)
                self._context.cannot_watch(self.account_id)
                pause = HOPELESS_SECONDS
            except MayNotConnect:
                pause = HOPELESS_SECONDS  # it is given back with the next look at the accounts
            except LeaseLost as error:
                logger.info("account %s: %s", self.account_id, error)
                pause = HOPELESS_SECONDS
            except (UpstreamError, DatabaseError) as error:
                logger.info("account %s: the watching connection ended: %s", self.account_id, error)
                asked_for = suggested_pause(str(error)) or 0.0
            except Exception:
                # Else the watcher begins anew with the next look at the accounts, as if this had not happened.
                logger.exception("account %s: the watching failed", self.account_id)
                least = _OWN_FAULT_SECONDS
            if pause:
                await asyncio.sleep(pause)
            failures = 1 if self._context.clock() - began > _SETTLED_SECONDS else failures + 1
            delay = account_delay(failures, self._context.rng).total_seconds()
            await self._rest(max(delay, asked_for), least=max(least, asked_for))

    async def _connected(self, *, after_failure: bool) -> None:
        plan = await self._context.database.call(load_plan, self.account_id)
        async with self._context.connections.open(self.account_id, self._host) as connection:
            if after_failure:
                # While nobody listened anything may have happened, in any mailbox.
                self._context.requests.speak(self.account_id)
                await self._context.database.call(replay_what_waits, self.account_id)
            main = MainConnection(self._context, connection, plan, self._wanted)
            self._main = main
            try:
                # Wants that came while there was no connection.
                self._is_waited_for.clear()
                main.fetch_wanted()
                await main.run()
            finally:
                self._main = None
                await main.close()

    async def _rest(self, seconds: float, *, least: float) -> None:
        """Pause after a failure; not for longer than ``least`` while somebody waits."""
        least = min(least, seconds)
        await asyncio.sleep(least)
        await self._is_waited_for.wait(seconds - least)
