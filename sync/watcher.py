"""The watcher: one idling connection per account, on INBOX; asks for a sync when the upstream speaks.

It changes nothing itself. What it misses is found by the periodic sync.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from django.db import Error as DatabaseError

from mailcache.errors import SealBroken
from mailcache.models import MailboxRole
from mailcache.services.leases import RENEW_SECONDS
from sync import scheduling
from sync.backoff import account_delay
from sync.connection import credentials_of, endpoint_of
from sync.database_calls import DatabaseCalls
from sync.holder import WatchLeases
from sync.models import Checkpoint
from sync.upstream.aio import AsyncClient
from sync.upstream.endpoint import Credentials, Deadlines, Endpoint
from sync.upstream.errors import AuthFailed, NotOffered, UpstreamError
from sync.upstream.values import SelectedMailbox

logger = logging.getLogger(__name__)

_INBOX = b"INBOX"
_RELOAD_SECONDS = 5.0
# Servers speak in bursts: one sync covers what comes within this time.
_BURST_SECONDS = 0.1
# Only a connection that lasted proves that the next failure is a new one (field notes, section 3: EmailEngine).
_SETTLED_SECONDS = 300.0
_HOPELESS_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where and as whom an account is watched; another value means another connection."""

    account_id: int
    endpoint: Endpoint
    credentials: Credentials


class Watcher:
    """Watches the accounts that this process holds until ``stop`` is set."""

    def __init__(
        self,
        *,
        deadlines: Deadlines | None = None,
        reload_seconds: float = _RELOAD_SECONDS,
        rng: Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deadlines = deadlines or Deadlines()
        self._reload_seconds = reload_seconds
        self._rng = rng or Random()  # noqa: S311 - jitter, not a secret
        self._clock = clock
        self._database = DatabaseCalls()
        self._leases = WatchLeases(f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}")
        self._watched: dict[Target, asyncio.Task[None]] = {}
        self.reloads = 0
        self.listening: set[int] = set()
        """Accounts whose upstream is being listened to now."""
        self._opened: dict[tuple[object, ...], Target] = {}
        self._spoke: dict[int, bool] = {}
        self._anybody_spoke = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Watch; returns after ``stop`` was set and every connection closed."""
        chores: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._every(self._reload_seconds, self._reload)),
            asyncio.create_task(self._every(RENEW_SECONDS, self._renew)),
            asyncio.create_task(self._ask_for_syncs()),
            asyncio.create_task(stop.wait()),
        ]
        try:
            done, _ = await asyncio.wait(chores, return_when=asyncio.FIRST_COMPLETED)
            for chore in done:
                chore.result()
        finally:
            await _cancel([*chores, *self._watched.values()])
            await self._release_all()
            self._database.close()

    async def _every(self, seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await chore()
            except DatabaseError as error:
                logger.warning("watcher: PostgreSQL: %s", error)
            await asyncio.sleep(seconds)

    async def _reload(self) -> None:
        targets = set(await self._database.call(self._targets))
        await self._forget([target for target, task in self._watched.items() if target not in targets or task.done()])
        for target in targets - self._watched.keys():
            self._watched[target] = asyncio.create_task(self._watch(target), name=f"watch-{target.account_id}")
        self.reloads += 1

    def _targets(self) -> list[Target]:
        """Return what is to be watched; secrets are opened only where something has changed."""
        targets: dict[tuple[object, ...], Target] = {}
        for account in self._leases.take():
            key = (
                account.pk,
                account.username,
                account.auth_method,
                bytes(account.sealed_secret),
                endpoint_of(account),
            )
            try:
                targets[key] = self._opened.get(key) or Target(
                    account.pk, endpoint_of(account), credentials_of(account)
                )
            except SealBroken as error:
                logger.warning("account %s is not watched: %s", account.pk, error)
        self._opened = targets
        return list(targets.values())

    async def _renew(self) -> None:
        await self._database.call(self._leases.renew)
        held = set(self._leases.held())
        await self._forget([target for target in self._watched if target.account_id not in held])

    async def _forget(self, targets: list[Target]) -> None:
        tasks = [self._watched.pop(target) for target in targets]
        await _cancel(tasks)

    async def _release_all(self) -> None:
        with contextlib.suppress(DatabaseError):  # they expire by themselves
            await self._database.call(lambda: self._leases.release(list(self._leases.held())))

    async def _watch(self, target: Target) -> None:
        failures = 0
        while True:
            began = self._clock()
            try:
                await self._idle(target, after_failure=failures > 0)
            except NotOffered:
                logger.info("account %s: its upstream offers no IDLE; it is synced periodically", target.account_id)
                await asyncio.sleep(_HOPELESS_SECONDS)
            except AuthFailed as error:
                logger.warning("account %s: %s", target.account_id, error)
                # The sync notes it in the account, which ends the watching until the credentials change.
                self._speak(target.account_id, full=True)
                await asyncio.sleep(_HOPELESS_SECONDS)
            except UpstreamError as error:
                logger.info("account %s: the watching connection ended: %s", target.account_id, error)
            failures = 1 if self._clock() - began > _SETTLED_SECONDS else failures + 1
            await asyncio.sleep(account_delay(failures, self._rng).total_seconds())

    async def _idle(self, target: Target, *, after_failure: bool) -> None:
        async with await AsyncClient.connect(target.endpoint, target.credentials, self._deadlines) as client:
            selected = await client.examine(_INBOX)
            if after_failure:
                # While nobody listened anything may have happened, in any mailbox.
                self._speak(target.account_id, full=True)
            elif await self._database.call(_has_changed, target.account_id, selected):
                self._speak(target.account_id)
            self.listening.add(target.account_id)
            try:
                async for _ in client.idle():
                    self._speak(target.account_id)
            finally:
                self.listening.discard(target.account_id)

    def _speak(self, account_id: int, *, full: bool = False) -> None:
        self._spoke[account_id] = full or self._spoke.get(account_id, False)
        self._anybody_spoke.set()

    async def _ask_for_syncs(self) -> None:
        while True:
            await self._anybody_spoke.wait()
            await asyncio.sleep(_BURST_SECONDS)
            self._anybody_spoke.clear()
            spoke, self._spoke = self._spoke, {}
            for account_id, full in spoke.items():
                request = scheduling.request_sync if full else scheduling.request_inbox_sync
                try:
                    await self._database.call(request, account_id=account_id)
                except DatabaseError as error:
                    logger.warning("account %s: cannot ask for a sync: %s", account_id, error)
                    self._speak(account_id, full=full)


def _has_changed(account_id: int, selected: SelectedMailbox) -> bool:
    checkpoint = Checkpoint.objects.filter(account_id=account_id, mailbox__role=MailboxRole.INBOX).first()
    return checkpoint is None or (checkpoint.uidvalidity, checkpoint.uidnext, checkpoint.exists) != (
        selected.uidvalidity,
        selected.uidnext,
        selected.exists,
    )


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            logger.error("a task of the watcher failed", exc_info=result)
