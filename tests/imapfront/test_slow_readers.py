"""Clients that read slowly or not at all, and a database that fails at the wrong moment: one connection by itself."""

from __future__ import annotations

import asyncio
import socket
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest
from psycopg_pool import PoolTimeout

from imapfront import connection as under_test
from imapfront.connection import Connection
from imapfront.errors import Answer, completed
from imapfront.handlers import Handler
from imapfront.hub import SharedMailbox
from imapfront.session import Selected, Session
from imapfront.snapshot import Snapshot
from imapfront.states import State
from imapfront.view import View
from mailcache.reads.mailboxes import Scope
from mailcache.services.flags import StoreResult
from mailcache.wire.number_set import NumberSet
from tests.imapfront.one_connection import connected, eventually, logged_in, over_sockets

CAPABILITY = b"a CAPABILITY\r\n"


def handle_with(monkeypatch: pytest.MonkeyPatch, run: Callable[[Session, Any], Awaitable[Answer]]) -> None:
    monkeypatch.setattr(under_test, "handler_of", lambda _: Handler(run))


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

    async def test_so_is_a_store_whose_flags_cannot_be_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        connection, transport, session = logged_in()
        snapshot = Snapshot.load(uidvalidity=1, uidnext=9, highestmodseq=1, messages=[])
        shared = SharedMailbox(1, Scope(1), snapshot, 0)
        session.selected = Selected("INBOX", 1, shared, View(array("I", [7, 8]), 1, 9), read_only=False)
        session.state = State.SELECTED
        refreshed = Mock(side_effect=[True, PoolTimeout("couldn't get a connection")])

        async def refresh() -> None:
            refreshed()

        async def store(*_: object, **__: object) -> StoreResult:
            return StoreResult(modseq=2, modified=NumberSet.from_numbers([8]))

        monkeypatch.setattr(session, "refresh", refresh)
        session.services = replace(session.services, threads=cast("Any", SimpleNamespace(run=store)))
        connection.data_received(b"a STORE 1:2 (UNCHANGEDSINCE 1) +FLAGS (x)\r\n")

        await eventually(lambda: b"\r\na " in transport.written)
        assert b"FETCH" not in transport.written
        assert b"\r\na OK [MODIFIED 2] " in transport.written

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
