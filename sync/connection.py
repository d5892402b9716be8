"""The connection of one sync worker to one upstream: opened when needed, replaced after any failure, counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from django.conf import settings

from mailcache.models import OAUTH_METHODS, Account
from mailcache.services.oauth_grants import forget_access_token
from mailcache.services.sealed_secrets import open_secret
from sync.oauth.tokens import access_token
from sync.upstream.blocking import BlockingClient
from sync.upstream.endpoint import AuthMethod, Credentials, Endpoint, TlsMode
from sync.upstream.errors import AuthFailed, ConnectionLost
from sync.upstream.values import SelectedMailbox

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


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went over the wire."""

    commands: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class UpstreamSession:
    """A connection that comes back: after a failure the next use logs in anew.

    One thread works with it; ``abort`` alone may come from another one.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._client: BlockingClient | None = None
        self._selected: bytes | None = None
        self._earlier = Traffic()
        self._lock = threading.Lock()
        self._aborted = False

    @property
    def client(self) -> BlockingClient:
        """A client that is logged in; raises ``UpstreamError``."""
        if self._client is not None and self._client.poisoned:
            self.drop()
        if self._client is None:
            client = log_in(self._account, self._dial)
            with self._lock:
                self._client = client
                if self._aborted:
                    client.close()
        if self._aborted:
            raise ConnectionLost("the worker no longer holds the account")
        return self._client

    def _dial(self, credentials: Credentials) -> BlockingClient:
        return BlockingClient.connect(endpoint_of(self._account), credentials)

    def connect(self) -> None:
        """Make sure that there is a client; raises ``UpstreamError``."""
        if not self.client.poisoned:
            return
        raise ConnectionLost("the connection was closed as soon as it was opened")

    def examine(self, name: bytes) -> SelectedMailbox:
        """Open a mailbox for reading."""
        self._selected = None
        selected = self.client.examine(name)
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
        return Traffic(
            earlier.commands + now.commands, earlier.bytes_in + now.bytes_in, earlier.bytes_out + now.bytes_out
        )

    def drop(self) -> None:
        """Close the connection without ceremony; the next use opens another."""
        traffic = self.traffic()
        with self._lock:
            client, self._client, self._selected, self._earlier = self._client, None, None, traffic
        if client is not None:
            client.close()

    def abort(self) -> None:
        """End whatever the worker is waiting for; every later use fails."""
        with self._lock:
            self._aborted = True
            if self._client is not None:
                self._client.close()

    def close(self) -> None:
        """Log out, and close."""
        client = self._client
        if client is not None and not client.poisoned and not self._aborted:
            client.logout()
        self.drop()
