"""The recording proxy records what is said, and fails when told to."""

from __future__ import annotations

import imaplib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.fakes.recording_proxy import RecordingProxy, Side
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until


class EchoServer:
    """Sends back what it gets, on any number of connections."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def proxy() -> Iterator[RecordingProxy]:
    server = EchoServer()
    with RecordingProxy("127.0.0.1", server.port) as proxy:
        yield proxy
    server.close()


def _connect(proxy: RecordingProxy) -> socket.socket:
    return socket.create_connection((proxy.host, proxy.port), timeout=10)


def _exchange(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    answer = b""
    while len(answer) < len(data):
        chunk = connection.recv(1 << 16)
        assert chunk
        answer += chunk
    return answer


def test_lines_are_recorded_without_their_literals_and_passed_on_whole(proxy: RecordingProxy) -> None:
    data = b'a1 APPEND INBOX {13}\r\nhello {3}\r\n\r\n "x" {2+}\r\nab end\r\na2 NOOP\r\n'
    with _connect(proxy) as connection:
        assert _exchange(connection, data) == data
    wait_until(lambda: not proxy.connections())
    said = [line.text for line in proxy.lines() if line.side is Side.CLIENT]
    heard = [line.text for line in proxy.lines() if line.side is Side.SERVER]
    assert said == heard == [b'a1 APPEND INBOX {13} "x" {2+} end', b"a2 NOOP"]
    assert [line.order for line in proxy.lines()] == list(range(4))


def test_pieces_of_any_size_give_the_same_lines(proxy: RecordingProxy) -> None:
    with _connect(proxy) as connection:
        for byte in b"a1 UID FETCH 1 (FLAGS)\r\na2 X {2}\r\n\r\n y\r\n":
            assert _exchange(connection, bytes([byte])) == bytes([byte])
    assert [(command.tag, command.verb, command.arguments) for command in proxy.commands()] == [
        ("a1", "UID FETCH", b"1 (FLAGS)"),
        ("a2", "X", b"{2} y"),
    ]


def test_answers_of_idle_and_authenticate_are_no_commands_and_secrets_are_not_kept(proxy: RecordingProxy) -> None:
    with _connect(proxy) as connection:
        _exchange(connection, b"1 LOGIN me secret\r\n2 idle\r\nDONE\r\n3 AUTHENTICATE PLAIN\r\nAG1lAHNlY3JldA==\r\n")
    assert proxy.counts() == {"LOGIN": 1, "IDLE": 1, "AUTHENTICATE": 1}
    assert all(command.arguments == b"" for command in proxy.commands())


def test_cut_and_refuse_and_allow(proxy: RecordingProxy) -> None:
    with _connect(proxy) as first:
        _exchange(first, b"x\r\n")
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            _connect(proxy)
        assert _exchange(first, b"y\r\n") == b"y\r\n"
        proxy.cut()
        assert first.recv(10) == b""
    proxy.allow()
    with _connect(proxy) as second:
        assert _exchange(second, b"z\r\n") == b"z\r\n"
    assert {line.connection for line in proxy.lines()} == {1, 2}


def test_paused_bytes_wait_and_come_later(proxy: RecordingProxy) -> None:
    with _connect(proxy) as connection:
        _exchange(connection, b"before\r\n")
        proxy.pause()
        connection.sendall(b"held\r\n")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(10)
        proxy.resume()
        connection.settimeout(10)
        assert connection.recv(10) == b"held\r\n"


def test_a_slow_line_takes_its_time(proxy: RecordingProxy) -> None:
    proxy.slow_down(100_000)
    with _connect(proxy) as connection:
        began = time.monotonic()
        for _ in range(4):
            _exchange(connection, b"x" * 9_998 + b"\r\n")
        assert time.monotonic() - began > 0.29


def test_an_upstream_that_is_away_closes_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = int(unused.getsockname()[1])
    with RecordingProxy("127.0.0.1", port) as proxy, _connect(proxy) as connection:
        assert connection.recv(10) == b""


@pytest.mark.dovecot
def test_bodies_fetched_from_dovecot_are_counted_by_mailbox_and_uid(dovecot: Dovecot, upstream_user: str) -> None:
    for size in (10, 100_000):
        dovecot.deliver(upstream_user, b"Subject: x\r\n\r\n" + b"y" * size + b"\r\n")
    with RecordingProxy(dovecot.host, dovecot.plain_port) as proxy:
        client = imaplib.IMAP4(proxy.host, proxy.port, timeout=20)
        client.login(upstream_user, dovecot.password)
        client.select("INBOX", readonly=True)
        client.uid("FETCH", "1:2", "(BODY.PEEK[] UID)")
        client.uid("FETCH", "2", "(BODY.PEEK[HEADER])")
        client.logout()
        assert [(body.mailbox, body.uid) for body in proxy.fetched_bodies()] == [(b"INBOX", 1), (b"INBOX", 2)]
        assert proxy.counts()["UID FETCH"] == 2
