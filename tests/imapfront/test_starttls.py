"""A TLS handshake that comes to nothing ends its connection, however it ends, and says nothing in plain text."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imapfront.connection import Connection
from mailcache.crypto.certificates import write_self_signed
from tests.imapfront.one_connection import eventually, over_sockets


@pytest.fixture
def tls_context(tmp_path: Path) -> ssl.SSLContext:
    """The server's."""
    certificate, key = tmp_path / "imap.crt", tmp_path / "imap.key"
    write_self_signed(certificate, key, hostnames=["localhost"], now=datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def _begin(connection: Connection, client: socket.socket) -> None:
    """Send STARTTLS, and return when the server waits for a handshake."""
    loop = asyncio.get_running_loop()
    assert (await loop.sock_recv(client, 1000)).startswith(b"* OK")
    await loop.sock_sendall(client, b"a STARTTLS\r\n")
    assert await loop.sock_recv(client, 1000) == b"a OK begin TLS now\r\n"
    await eventually(lambda: connection._starting_tls)


async def _ended(connection: Connection) -> None:
    await asyncio.wait_for(connection.closed.wait(), 5)
    await eventually(lambda: connection._task is None)
    assert connection not in connection._connections


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_a_handshake_that_is_reset(tls_context: ssl.SSLContext, caplog: pytest.LogCaptureFixture) -> None:
    async def main(connection: Connection, client: socket.socket) -> None:
        await _begin(connection, client)
        _reset(client)
        await _ended(connection)

    over_sockets(main, tls_context=tls_context)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("data", [b"b NOOP\r\n" * 10, b""], ids=["no TLS", "the end"])
def test_what_is_no_handshake(data: bytes, tls_context: ssl.SSLContext, caplog: pytest.LogCaptureFixture) -> None:
    async def main(connection: Connection, client: socket.socket) -> None:
        await _begin(connection, client)
        await asyncio.get_running_loop().sock_sendall(client, data)
        client.shutdown(socket.SHUT_WR)
        await _ended(connection)

    over_sockets(main, tls_context=tls_context)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_certificate_that_the_client_refuses(tls_context: ssl.SSLContext, caplog: pytest.LogCaptureFixture) -> None:
    async def main(connection: Connection, client: socket.socket) -> None:
        await _begin(connection, client)
        client.setblocking(True)
        with pytest.raises(ssl.SSLCertVerificationError):
            # In a thread: uvloop's client would not tell the server why it goes.
            await asyncio.to_thread(ssl.create_default_context().wrap_socket, client, server_hostname="localhost")
        await _ended(connection)

    over_sockets(main, tls_context=tls_context)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("login_timeout", [0.2, 60.0], ids=["time-out", "stop"])
def test_no_bye_into_a_handshake(login_timeout: float, tls_context: ssl.SSLContext) -> None:
    async def main(connection: Connection, client: socket.socket) -> None:
        await _begin(connection, client)
        if login_timeout == 60.0:
            connection.end("the server is stopping")
        await _ended(connection)
        assert await asyncio.get_running_loop().sock_recv(client, 1000) == b""

    over_sockets(main, tls_context=tls_context, login_timeout=login_timeout)
