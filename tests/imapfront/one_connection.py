"""One connection by itself, without a server: over a transport that remembers, or over real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import uvloop
from psycopg_pool import PoolTimeout

from imapfront.conf import Configuration
from imapfront.connection import Connection
from imapfront.protocol import Limits
from imapfront.session import Services, Session
from imapfront.states import State
from mailcache.reads.mailboxes import Scope
from mailcache.wire.framing import LiteralSink


class Transport(asyncio.Transport):
    """Remembers what was done to it; what is written is taken at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading = True
        self.closed = False
        self.aborted = asyncio.Event()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "socket": SimpleNamespace(setsockopt=lambda *_: None)}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True
        self.aborted.set()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class BrokenHub:
    """The hub while the database does not answer."""

    def is_current(self, _: object) -> bool:
        return False

    async def refresh(self, _: object) -> None:
        raise PoolTimeout("couldn't get a connection")


def make_connection(
    *,
    login_timeout: float = 60.0,
    idle_timeout: float = 60.0,
    tls_context: ssl.SSLContext | None = None,
    open_spool: Callable[[], LiteralSink] | None = None,
) -> Connection:
    configuration = Configuration(
        plaintext_bind=None,
        tls_bind=None,
        tls_cert_path=Path("none"),
        tls_key_path=Path("none"),
        allow_plaintext_login=True,
        limits=Limits(),
        login_timeout=login_timeout,
        idle_timeout=idle_timeout,
    )
    nothing = cast("Any", None)
    services = Services(
        configuration,
        nothing,
        cast("Any", BrokenHub()),
        nothing,
        nothing,
        can_start_tls=tls_context is not None,
        open_spool=cast("Callable[[], LiteralSink]", open_spool),
    )
    return Connection(services, tls_context=tls_context, implicit_tls=False, connections=set())


def connected(**options: Any) -> tuple[Connection, Transport]:
    """Return a connection before its login."""
    connection, transport = make_connection(**options), Transport()
    connection.connection_made(transport)
    return connection, transport


def logged_in(**options: Any) -> tuple[Connection, Transport, Session]:
    connection, transport = connected(**options)
    session = connection._session_required
    session.scope, session.state = Scope(1), State.AUTHENTICATED
    connection.logged_in()
    return connection, transport, session


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it waits for sets no event
            await asyncio.sleep(0.01)


def over_sockets(main: Callable[[Connection, socket.socket], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run ``main`` in the loop of production, with a connection and its client that have little room between them."""

    async def run() -> None:
        connection = make_connection(**options)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.create_connection(listening.getsockname())
            ours, _ = listening.accept()
        client.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        with client:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, ours)
            await main(connection, client)
        await asyncio.wait_for(connection.closed.wait(), 10)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
