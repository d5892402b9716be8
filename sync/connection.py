"""The connection of one sync worker to one upstream: opened when needed, replaced after any failure, counted."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar, cast

from django.conf import settings
from django.db import connection
from django.utils import timezone

from mailcache.models import OAUTH_METHODS, Account
from mailcache.services.oauth_grants import forget_access_token
from mailcache.services.sealed_secrets import open_secret
from sync.backoff import reconnect_delay
from sync.errors import NoConnectionFree
from sync.lanes import Lane
from sync.limits import is_too_many_connections
from sync.models import Purpose
from sync.oauth.tokens import access_token
from sync.profiles import GENERIC, Profile, choose_profile, detect_profile
from sync.services.slots import Slot, acquire_slot, connection_limits, release_slot
from sync.services.upstream_notes import latches_of, note_crowded, note_upstream
from sync.upstream.blocking import BlockingClient
from sync.upstream.endpoint import AuthMethod, Credentials, Endpoint, TlsMode
from sync.upstream.errors import (
    AuthFailed,
    ConnectFailed,
    ConnectionLost,
    ServerBye,
    Severity,
    TlsFailed,
    UpstreamError,
)
from sync.upstream.values import CommandUsage, Resync, SelectedMailbox

logger = logging.getLogger(__name__)

# A name server that fails for a moment must not end a run of hours (field note 6).
_RECONNECTS = 4
_MOMENTARY = (ConnectFailed, ConnectionLost, ServerBye, TlsFailed)

T = TypeVar("T")


def endpoint_of(account: Account) -> Endpoint:
    """Return where the account's upstream is."""
    return Endpoint(
        host=account.host,
        port=account.port,
        tls_mode=cast(TlsMode, account.tls_mode),
        ca_file=settings.UPSTREAM_CA_FILE,
    )


def credentials_of(account: Account) -> Credentials:
    """Return how to log in there; raises ``SealBroken``, or ``UpstreamError`` where no access token is to be had.

    For OAuth accounts this may ask the authorization server: call it where waiting is allowed, for each connection.
    """
    secret = access_token(account) if account.auth_method in OAUTH_METHODS else open_secret(account)
    return Credentials(method=cast(AuthMethod, account.auth_method), username=account.username, secret=secret)


def log_in(account: Account, connect: Callable[[Credentials], T]) -> T:
    """Connect with the account's credentials; an access token that is refused before its time is replaced, once."""
    credentials = credentials_of(account)
    try:
        return connect(credentials)
    except AuthFailed:
        if account.auth_method not in OAUTH_METHODS or not forget_access_token(account_id=account.pk):
            raise
    return connect(credentials_of(account))


def profile_of(account: Account) -> Profile:
    """Return how to treat the account's upstream."""
    return choose_profile(host=account.host, chosen=account.profile, detected=account.detected_profile)


def new_holder() -> str:
    """Return a name under which one worker holds leases and slots."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went over the wire."""

    commands: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.commands + other.commands, self.bytes_in + other.bytes_in, self.bytes_out + other.bytes_out)


class UpstreamSession:
    """A connection that comes back: after a failure the next use logs in anew.

    One thread works with it; ``abort``, ``lose_slot`` and the figures alone may be used by another one. It takes a
    slot before it dials; whoever opens it renews the slots of ``holder`` (``sync.services.slots.renew_slots``).
    """

    def __init__(
        self,
        account: Account,
        *,
        purpose: Purpose = Purpose.SYNC,
        holder: str = "",
        lane: Lane = Lane.SLOW,
        rng: Random | None = None,
    ) -> None:
        self.profile = profile_of(account)
        self.holder = holder or new_holder()
        self._account = account
        self._purpose = purpose
        self._lane = lane
        self._rng = rng or Random()  # noqa: S311 - jitter, not a secret
        self._latches = latches_of(account, timezone.now())
        self._slot: Slot | None = None
        self.connected_at = timezone.now()
        """When the present connection was begun."""
        self._client: BlockingClient | None = None
        self._selected: bytes | None = None
        self._was_connected = False
        self._earlier = Traffic()
        self._earlier_usage: dict[str, CommandUsage] = {}
        self._lock = threading.Lock()
        self._aborted = threading.Event()

    @property
    def client(self) -> BlockingClient:
        """A client that is logged in; raises ``UpstreamError`` or ``NoConnectionFree``."""
        if self._client is not None and self._client.poisoned:
            self.drop()
        client = self._client or self._reopen()
        if self._aborted.is_set():
            raise ConnectionLost("the worker no longer holds the account")
        return client

    @property
    def slot_id(self) -> int | None:
        """The slot that this session has now."""
        return self._slot.id if self._slot else None

    def reserve(self) -> bool:
        """Take a slot; False where none is free."""
        if self._slot is None:
            limits = connection_limits(self._account, self.profile)
            self._slot = acquire_slot(
                account_id=self._account.pk,
                host=self._account.host,
                purpose=self._purpose,
                holder=self.holder,
                account_limit=limits.account,
                host_limit=limits.host,
            )
        return self._slot is not None

    def connect(self) -> None:
        """Make sure that there is a client; raises ``UpstreamError`` or ``NoConnectionFree``."""
        if not self.client.poisoned:
            return
        raise ConnectionLost("the connection was closed as soon as it was opened")

    def examine(self, name: bytes, *, resync: Resync | None = None) -> SelectedMailbox:
        """Open a mailbox for reading."""
        self._selected = None
        selected = self.client.examine(name, resync=resync)
        self._selected = name
        return selected

    def select(self, name: bytes) -> SelectedMailbox:
        """Open a mailbox for reading and writing."""
        self._selected = None
        selected = self.client.select(name)
        self._selected = name
        return selected

    def is_open(self, name: bytes) -> bool:
        """Tell whether this mailbox is the one that is open."""
        return self._selected == name and self._client is not None and not self._client.poisoned

    def traffic(self) -> Traffic:
        """Return what went over all connections of this session."""
        client, earlier = self._client, self._earlier
        if client is None:
            return earlier
        now = client.statistics
        return earlier + Traffic(now.commands, now.bytes_in, now.bytes_out)

    def usage(self) -> dict[str, CommandUsage]:
        """Return the same by the name of the command."""
        client = self._client
        return add_usage(self._earlier_usage, client.statistics.by_command if client else {})

    def drop(self) -> None:
        """Close the connection without ceremony; the next use opens another."""
        traffic, usage = self.traffic(), self.usage()
        with self._lock:
            client, self._client, self._selected = self._client, None, None
            self._earlier, self._earlier_usage = traffic, usage
        if client is not None:
            client.close()
            self._learn(client)

    def abort(self) -> None:
        """End whatever the worker is waiting for; every later use fails."""
        with self._lock:
            self._aborted.set()
            if self._client is not None:
                self._client.close()

    def lose_slot(self) -> None:
        """Close the connection, whose slot has lapsed and may be another worker's by now."""
        with self._lock:
            self._slot = None
            if self._client is not None:
                self._client.close()

    def close(self) -> None:
        """Log out, close, and give the slot back."""
        client = self._client
        if client is not None and not client.poisoned and not self._aborted.is_set():
            client.logout()
        self.drop()
        self._release()

    def _reopen(self) -> BlockingClient:
        attempts = 0
        while True:
            if self._aborted.is_set():
                raise ConnectionLost("the worker no longer holds the account")
            if not self.reserve():
                raise NoConnectionFree(f"all connections that {self._account.host} may have are in use")
            try:
                return self._dial()
            except UpstreamError as error:
                self._give_way(error)
                attempts += 1
                if not self._was_connected or attempts > _RECONNECTS or not _is_momentary(error):
                    self._release()
                    raise
                logger.info("account %s: reconnecting failed: %s", self._account.pk, error)
            self._aborted.wait(reconnect_delay(attempts, self._rng).total_seconds())

    def _dial(self) -> BlockingClient:
        if self._lane is Lane.SLOW and not connection.in_atomic_block:
            # Many of this lane's threads wait for an upstream at any time: not with a database connection each.
            connection.close()
        self.connected_at = timezone.now()
        client = log_in(self._account, self._connect)
        with self._lock:
            self._client = client
            if self._aborted.is_set():
                client.close()
        self._was_connected = True
        return client

    def _connect(self, credentials: Credentials) -> BlockingClient:
        return BlockingClient.connect(
            endpoint_of(self._account),
            credentials,
            self._lane.deadlines,
            profile=self.profile,
            refused=self._latches,
        )

    def _give_way(self, error: UpstreamError) -> None:
        """Use fewer connections for a while where the upstream allows no more than those of the account's others."""
        if self._slot is None or not is_too_many_connections(str(error)):
            return
        slot, self._slot = self._slot, None
        others = note_crowded(slot=slot, reason=str(error))
        if others == 0:
            return
        logger.warning(
            "account %s: the upstream refuses a connection besides %d others (%s): going on with fewer; the limit is"
            " the account's connection limit or UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT",
            self._account.pk,
            others,
            error,
        )
        raise NoConnectionFree(str(error)) from error

    def _learn(self, client: BlockingClient) -> None:
        """Keep what this connection found out about the upstream, where it is new."""
        refused, said = client.refused, client.said
        detected = detect_profile(said)
        is_new = detected is not GENERIC and detected.name != self._account.detected_profile
        if is_new or not self._latches.issuperset(refused):
            note_upstream(account_id=self._account.pk, refused=refused, said=said)
            self._latches |= refused
            self._account.detected_profile = detected.name if is_new else self._account.detected_profile

    def _release(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            release_slot(slot)


def add_usage(first: dict[str, CommandUsage], second: dict[str, CommandUsage]) -> dict[str, CommandUsage]:
    """Return the sum of two figures by command."""
    total = dict(first)
    for name, usage in list(second.items()):
        so_far = total.get(name, CommandUsage())
        total[name] = CommandUsage(
            so_far.commands + usage.commands, so_far.bytes_in + usage.bytes_in, so_far.bytes_out + usage.bytes_out
        )
    return total


def _is_momentary(error: UpstreamError) -> bool:
    return isinstance(error, _MOMENTARY) and error.severity == Severity.TRANSIENT
