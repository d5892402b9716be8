"""Large literals go to a sink, piece by piece."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterator

import pytest

from sync.upstream.endpoint import Credentials, Deadlines, Endpoint
from sync.upstream.protocol import fetch
from sync.upstream.values import FetchedMessage, LiteralInfo
from tests.fakes.scripted_imap import Answer
from tests.servers.dovecot import Dovecot
from tests.sync.upstream.conftest import Script
from tests.sync.upstream.drivers import Connect

MEGABYTE = 1 << 20
SIZE = 100 * MEGABYTE


class HashSink:
    """Keeps a hash and the size of what it got."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.size = 0
        self.largest = 0

    def write(self, chunk: bytes, /) -> None:
        self.hash.update(chunk)
        self.size += len(chunk)
        self.largest = max(self.largest, len(chunk))


def lines(count: int) -> Iterator[bytes]:
    """Yield a large message line by line."""
    yield b"Subject: large\r\n\r\n"
    for number in range(count):
        yield b"%090d\r\n" % number


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, dovecot: Dovecot) -> tuple[str, int, str]:
    """A message of 100 MB in a mailbox: user, size, SHA-256."""
    user = "large-messages"
    with dovecot.login(user) as client:
        data = b"".join(lines(SIZE // 92))
        client.append("INBOX", "", '"01-Jan-2020 00:00:00 +0000"', data)
    return user, len(data), hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("mode", ["plain", "tls"])
def test_100_megabytes_are_never_held(
    connect: Connect, dovecot: Dovecot, large: tuple[str, int, str], mode: str
) -> None:
    user, size, digest = large
    endpoint = (
        Endpoint("localhost", dovecot.tls_port, "tls", dovecot.ca_file)
        if mode == "tls"
        else Endpoint("localhost", dovecot.plain_port, "plain")
    )
    sink = HashSink()
    offered: list[LiteralInfo] = []
    messages: list[FetchedMessage] = []

    def open_sink(info: LiteralInfo) -> HashSink:
        offered.append(info)
        return sink

    with connect(endpoint, Credentials("login", user, dovecot.password), Deadlines()) as client:
        client.examine(b"INBOX")
        tracemalloc.start()
        try:
            client.uid_fetch([1], b"(BODY.PEEK[])", on_message=messages.append, open_sink=open_sink)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert offered == [LiteralInfo(1, 1, b"", size)]
    assert messages[0].sections == {b"": sink}
    assert (sink.size, sink.hash.hexdigest()) == (size, digest)
    assert peak < 4 * MEGABYTE


def rows(*lines_: bytes) -> dict[str, Answer | list[Answer]]:
    return {"UID FETCH": b"".join(line + b"\r\n" for line in lines_) + b"{tag} OK done\r\n"}


def test_sinks_are_offered_what_is_known(script: Script) -> None:
    _, client = script(
        rows(
            b'* 1 FETCH (UID 5 X "UID 7" BODY[HEADER.FIELDS (DATE)] {2}\r\n\r\n BODY[1.2]<0> {3}\r\nabc)',
            b"* 2 FETCH (BODY[] {3}\r\nxyz UID 6)",
            b"* 3 FETCH (UID 9 BODY[] {3}\r\nfor)",
        )
    )
    offered: list[LiteralInfo] = []
    messages: list[FetchedMessage] = []

    def nothing(info: LiteralInfo) -> None:
        offered.append(info)

    client.uid_fetch([5, 6], b"(X)", on_message=messages.append, open_sink=nothing)

    assert offered == [
        LiteralInfo(1, 5, b"HEADER.FIELDS (DATE)", 2),
        LiteralInfo(1, 5, b"1.2<0>", 3),
        LiteralInfo(2, None, b"", 3),
    ]
    assert [message.sections for message in messages] == [
        {b"HEADER.FIELDS (DATE)": b"\r\n", b"1.2<0>": b"abc"},
        {b"": b"xyz"},
    ]


def test_memory_is_bounded_without_a_sink(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MAX_KEPT", 10)
    body = b"x" * 8
    _, client = script(rows(b"* 1 FETCH (UID 5 BODY[1] {8}\r\n" + body + b" BODY[2] {8}\r\n" + body + b" FLAGS (a))"))
    messages: list[FetchedMessage] = []

    client.uid_fetch([5], b"(X)", on_message=messages.append)

    assert messages[0].sections == {b"1": body, b"2": None}
    assert messages[0].skipped == {b"2"}
    assert messages[0].flags == ("a",)


def test_a_sink_that_fails_ends_the_connection(script: Script) -> None:
    class FullDisk:
        def write(self, chunk: bytes, /) -> None:
            raise OSError("no space left")

    _, client = script(rows(b"* 1 FETCH (UID 5 BODY[] {3}\r\nabc)"))

    def open_sink(info: LiteralInfo) -> FullDisk:
        return FullDisk()

    with pytest.raises(OSError, match="no space"):
        client.uid_fetch([5], b"(X)", on_message=print, open_sink=open_sink)
    assert client.poisoned
