"""The connections of a watcher: paced, counted by slots, closed when their slot has lapsed."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from django.utils import timezone

from mailcache.models import OAUTH_METHODS, Account
from mailcache.services.oauth_grants import forget_access_token
from sync.database_calls import DatabaseCalls
from sync.errors import NoConnectionFree
from sync.limits import is_too_many_connections
from sync.models import Purpose
from sync.profiles import GENERIC, detect_profile
from sync.services.slots import Slot, acquire_slot, release_slot, release_slots, renew_slots
from sync.services.upstream_notes import note_crowded, note_upstream
from sync.services.usage import record_usage
from sync.services.watch_reads import Door, load_door
from sync.upstream.aio import AsyncClient
from sync.upstream.endpoint import Credentials, Deadlines
from sync.upstream.errors import AuthFailed, UpstreamError
from sync.upstream.values import CommandUsage
from sync.watch_pace import LoginPace

logger = logging.getLogger(__name__)

# Its state costs ten times what an idle connection costs, and there is next to nothing to compress.
_NOT_WORTH_IT = frozenset({"COMPRESS=DEFLATE"})


class MayNotConnect(Exception):
    """The account may not be connected to: it was paused or removed, or its credentials were refused."""


@dataclass(slots=True)
class OpenConnection:
    """A connection and how it was made."""

    client: AsyncClient
    door: Door
    recorded: dict[str, CommandUsage] = field(default_factory=dict)
    """What its commands had cost when that was last written down."""

    def new_usage(self) -> dict[str, CommandUsage]:
        """Return what commands have cost since then, and take it as written down."""
        now = {name: replace(usage) for name, usage in self.client.statistics.by_command.items()}
        before, self.recorded = self.recorded, now
        return {name: _difference(usage, before.get(name, CommandUsage())) for name, usage in now.items()}


class WatchConnections:
    """Opens connections for all accounts of one process. ``holder`` names the process among the slots.

    Who logs in with a password does not wait for the threads of ``tokens``, which wait for authorization servers.
    """

    def __init__(
        self,
        holder: str,
        *,
        database: DatabaseCalls,
        slow: DatabaseCalls,
        tokens: DatabaseCalls | None = None,
        pace: LoginPace,
        deadlines: Deadlines,
    ) -> None:
        self._holder = holder
        self._database = database
        self._slow = slow
        self._tokens = tokens or slow
        self._pace = pace
        self._deadlines = deadlines
        self._clients: dict[int, AsyncClient | None] = {}
        self._closing = False

    @asynccontextmanager
    async def open(
        self, account_id: int, host: str, *, purpose: Purpose = Purpose.WATCH
    ) -> AsyncIterator[OpenConnection]:
        """Yield a connection that is logged in; raises ``UpstreamError``, ``NoConnectionFree``, ``MayNotConnect``."""
        await self._pace.turn(host)
        takes_tokens = await self._slow.call(_takes_tokens, account_id)
        found = await (self._tokens if takes_tokens else self._slow).call(load_door, account_id)
        if found is None:
            raise MayNotConnect
        door, credentials = found
        slot = await self._database.call(self._reserve, door, purpose)
        self._clients[slot.id] = None
        try:
            client = await self._log_in(door, credentials, slot)
            del found, credentials  # secrets are not kept for as long as a connection lasts
            self._clients[slot.id] = client
            connection = OpenConnection(client, door)
            try:
                await self._learn(connection)
                async with client:
                    yield connection
            finally:
                if not self._closing:
                    await self._learn(connection)
                    await self.record(connection)
        finally:
            self._clients.pop(slot.id, None)
            if not self._closing:
                await self._database.call(release_slot, slot)

    async def renew(self) -> None:
        """Prolong the slots; a connection whose slot has lapsed is closed, for it is somebody else's now."""
        renewed = await self._database.call(renew_slots, holder=self._holder)
        for slot_id in self._clients.keys() - renewed:
            client = self._clients[slot_id]
            if client is not None:
                client.close()

    async def record(self, connection: OpenConnection) -> None:
        """Write down what the connection has cost since the last time."""
        await self._database.call(_record, connection.door.account_id, connection.new_usage())

    async def close(self) -> None:
        """Give all slots back at once; call it when the last connection was closed."""
        await self._database.call(release_slots, holder=self._holder)

    def stop(self) -> None:
        """From now on connections only close: the process ends, and has no time for each of them."""
        self._closing = True

    def _reserve(self, door: Door, purpose: Purpose) -> Slot:
        slot = acquire_slot(
            account_id=door.account_id,
            host=door.endpoint.host,
            purpose=purpose,
            holder=self._holder,
            account_limit=door.limits.account,
            host_limit=door.limits.host,
        )
        if slot is None:
            raise NoConnectionFree(f"all connections that {door.endpoint.host} may have are in use")
        return slot

    async def _log_in(self, door: Door, credentials: Credentials, slot: Slot) -> AsyncClient:
        """Connect; an access token that is refused before its time is replaced, once."""
        try:
            return await self._connect(door, credentials, slot)
        except AuthFailed:
            is_token = credentials.method in OAUTH_METHODS
            if not is_token or not await self._tokens.call(forget_access_token, account_id=door.account_id):
                raise
        found = await self._tokens.call(load_door, door.account_id)
        if found is None:
            raise MayNotConnect
        return await self._connect(*found, slot)

    async def _connect(self, door: Door, credentials: Credentials, slot: Slot) -> AsyncClient:
        try:
            return await AsyncClient.connect(
                door.endpoint,
                credentials,
                self._deadlines,
                profile=door.profile,
                refused=door.latches | _NOT_WORTH_IT,
            )
        except UpstreamError as error:
            if is_too_many_connections(str(error)):
                await self._database.call(_give_way, slot, str(error))
            raise

    async def _learn(self, connection: OpenConnection) -> None:
        """Keep what this connection found out, where it is new."""
        client, door = connection.client, connection.door
        detected = detect_profile(client.said)
        is_new = detected is not GENERIC and detected.name != door.detected
        if is_new or not door.latches.issuperset(client.refused):
            await self._database.call(
                note_upstream, account_id=door.account_id, refused=client.refused, said=client.said
            )


def _takes_tokens(account_id: int) -> bool:
    return Account.objects.filter(pk=account_id, auth_method__in=OAUTH_METHODS).exists()


def _give_way(slot: Slot, reason: str) -> None:
    """Leave the connections to the account's workers, where they have some."""
    others = note_crowded(slot=slot, reason=reason)
    if others:
        logger.warning("account %s: no connection to watch besides %d others: %s", slot.account_id, others, reason)
        raise NoConnectionFree(reason)


def _record(account_id: int, by_command: Mapping[str, CommandUsage]) -> None:
    record_usage(account_id=account_id, day=timezone.now().date(), by_command=by_command)


def _difference(now: CommandUsage, before: CommandUsage) -> CommandUsage:
    return CommandUsage(
        now.commands - before.commands, now.bytes_in - before.bytes_in, now.bytes_out - before.bytes_out
    )
