"""Clients that read slowly or not at all, and a database that fails at the wrong moment: one connection by itself."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop
from psycopg_pool import PoolTimeout

from imapfront import connection as under_test
from imapfront.conf import Configuration
from imapfront.connection import Connection
from imapfront.errors import Answer, completed
from imapfront.handlers import Handler
from imapfront.protocol import Limits
from imapfront.session import Selected, Services, Session
from imapfront.states import State
from mailcache.reads.mailboxes import Scope

CAPABILITY = b"a CAPABILITY\r\n"


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


def make_connection(*, login_timeout: float = 60.0, idle_timeout: float = 60.0) -> Connection:
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
    services = Services(configuration, nothing, cast("Any", BrokenHub()), nothing, nothing, False, nothing)
    return Connection(services, tls_context=None, implicit_tls=False, connections=set())


def connected(**timeouts: float) -> tuple[Connection, Transport]:
    """Return a connection before its login."""
    connection, transport = make_connection(**timeouts), Transport()
    connection.connection_made(transport)
    return connection, transport


def logged_in(**timeouts: float) -> tuple[Connection, Transport, Session]:
    connection, transport = connected(**timeouts)
    session = connection._session_required
    session.scope, session.state = Scope(1), State.AUTHENTICATED
    connection.logged_in()
    return connection, transport, session


def handle_with(monkeypatch: pytest.MonkeyPatch, run: Callable[[Session, Any], Awaitable[Answer]]) -> None:
    monkeypatch.setattr(under_test, "handler_of", lambda _: Handler(run))


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it waits for sets no event
            await asyncio.sleep(0.01)


def over_sockets(main: Callable[[Connection, socket.socket], Coroutine[Any, Any, None]]) -> None:
    """Run ``main`` in the loop of production, with a connection and its client that have little room between them."""

    async def run() -> None:
        connection = make_connection()
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


class TestOutput:
    def test_who_does_not_read_gets_no_more_answers(self) -> None:
        async def main(connection: Connection, client: socket.socket) -> None:
            loop = asyncio.get_running_loop()
            sending = asyncio.ensure_future(loop.sock_sendall(client, CAPABILITY * 40_000 + b"b LOGOUT\r\n"))
            await asyncio.sleep(1)
            assert connection._transport is not None
            assert connection._transport.get_write_buffer_size() < 2 * under_test._WRITE_HIGH_WATER

            received = bytearray()
            async with asyncio.timeout(60):
                while data := await loop.sock_recv(client, 1 << 18):
                    received += data
            await sending
            assert received.count(b"\r\na OK") == 40_000
            assert received.endswith(b"\r\nb OK LOGOUT completed\r\n")

        over_sockets(main)

    async def test_commands_wait_until_the_client_reads(self) -> None:
        connection, transport = connected()
        connection.pause_writing()
        before = transport.written

        connection.data_received(CAPABILITY)
        assert (transport.written, transport.reading) == (before, False)

        connection.resume_writing()
        await eventually(lambda: transport.reading)
        assert transport.written.count(b"a OK") == 1

    def test_who_never_reads_is_cut_off_after_bye(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(under_test, "_LAST_WORDS_SECONDS", 0.2, raising=False)

        async def main(connection: Connection, client: socket.socket) -> None:
            assert connection._transport is not None
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            await asyncio.get_running_loop().sock_sendall(client, CAPABILITY * 2_000)
            await eventually(lambda: bool(connection._transport and connection._transport.get_write_buffer_size()))
            connection.say_bye("the server is stopping")
            await asyncio.wait_for(connection.closed.wait(), 5)

        over_sockets(main)

    async def test_who_never_reads_is_cut_off_after_logout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(under_test, "_LAST_WORDS_SECONDS", 0.05, raising=False)
        connection, transport = connected()

        connection.data_received(b"a LOGOUT\r\n")
        await eventually(lambda: transport.closed)
        assert not transport.aborted.is_set()
        # Nothing that comes late may stand in its way.
        connection.resume_writing()
        connection.logged_in()
        await asyncio.wait_for(transport.aborted.wait(), 5)


class TestIdle:
    async def test_done_is_read_after_much_that_was_pipelined(self) -> None:
        connection, transport, _ = logged_in()
        noops = b"a NOOP\r\n" * (under_test._MAX_WAITING_BYTES // 8 + 1)

        connection.data_received(noops + b"i IDLE\r\n")
        assert not transport.reading

        await eventually(lambda: transport.reading)
        connection.data_received(b"DONE\r\n")
        connection.data_received(b"b NOOP\r\n")
        await eventually(lambda: b"b OK" in transport.written)
        assert b"i OK IDLE completed" in transport.written


class TestRefresh:
    async def test_what_was_done_is_answered_ok_when_the_updates_fail(self, monkeypatch: pytest.MonkeyPatch) -> None:
        connection, transport, session = logged_in()
        selected = SimpleNamespace(shared=SimpleNamespace(gone=False))
        session.selected = cast("Selected", selected)
        monkeypatch.setattr(session, "send_updates", lambda: None)

        async def append(*_: object) -> Answer:
            return completed("APPEND completed", code="APPENDUID 1 2")

        handle_with(monkeypatch, append)
        connection.data_received(b"a APPEND INBOX {2+}\r\nhi\r\n")

        await eventually(lambda: b"\r\na " in transport.written)
        assert transport.written.endswith(b"\r\na OK [APPENDUID 1 2] APPEND completed\r\n")

    async def test_what_failed_is_still_answered_no(self, monkeypatch: pytest.MonkeyPatch) -> None:
        connection, transport, _ = logged_in()

        async def fail(*_: object) -> Answer:
            raise PoolTimeout("couldn't get a connection")

        handle_with(monkeypatch, fail)
        connection.data_received(b"a APPEND INBOX {2+}\r\nhi\r\n")

        await eventually(lambda: b"\r\na NO [UNAVAILABLE]" in transport.written)


class TestTime:
    async def test_no_bye_amid_an_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        connection, transport, session = logged_in(idle_timeout=0.1)
        session.state = State.SELECTED

        async def fetch(session: Session, _: object) -> Answer:
            session.write(b"* 1 FETCH (BODY[] {4}\r\nab")
            await asyncio.sleep(0.5)
            session.write(b"cd)\r\n")
            return completed("FETCH completed")

        handle_with(monkeypatch, fetch)
        connection.data_received(b"a FETCH 1 BODY[]\r\n")

        await eventually(lambda: transport.closed)
        _, _, answer = transport.written.partition(b"{4}\r\n")
        assert answer == b"abcd)\r\na OK FETCH completed\r\n* BYE nothing heard for too long\r\n"

    async def test_who_takes_nothing_of_an_answer_is_cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        connection, transport, session = logged_in(idle_timeout=0.1)
        session.state = State.SELECTED

        async def fetch(session: Session, _: object) -> Answer:
            connection.pause_writing()
            await session.channel.drain()
            return completed("FETCH completed")

        handle_with(monkeypatch, fetch)
        connection.data_received(b"a FETCH 1 BODY[]\r\n")

        await asyncio.wait_for(transport.aborted.wait(), 5)
        assert b"BYE" not in transport.written
        connection.connection_lost(None)

    async def test_bye_while_the_client_idles(self) -> None:
        connection, transport, _ = logged_in(idle_timeout=0.1)

        connection.data_received(b"a IDLE\r\n")

        await eventually(lambda: transport.closed)
        assert transport.written.endswith(b"* BYE nothing heard for too long\r\n")
        connection.connection_lost(None)

    async def test_bye_while_a_login_is_not_ended(self) -> None:
        connection, transport = connected(login_timeout=0.1)

        connection.data_received(b"a AUTHENTICATE PLAIN\r\n")

        await eventually(lambda: transport.closed)
        assert transport.written.endswith(b"* BYE nothing heard for too long\r\n")
        connection.connection_lost(None)
