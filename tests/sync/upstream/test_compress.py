"""COMPRESS=DEFLATE (RFC 4978), against Dovecot, and without I/O against what a server might do with it."""

from __future__ import annotations

import random
import tempfile
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.profiles import GENERIC, Profile
from sync.upstream.endpoint import Credentials, Endpoint
from sync.upstream.errors import ProtocolViolation
from sync.upstream.protocol import idle
from sync.upstream.protocol.compression import Compression
from sync.upstream.protocol.extensions import compress
from sync.upstream.protocol.session import Session
from sync.upstream.values import IdleKind
from tests.servers.dovecot import Dovecot, new_user, running_dovecot
from tests.sync.upstream.drivers import Connect, fetched
from tests.sync.upstream.protocol.steps import run, session

TEXT = b"Subject: long\r\n\r\n" + b"the same line over and over\r\n" * 4_000
NOISE = b"Subject: noise\r\n\r\n" + random.Random(1).randbytes(60_000).hex().encode() + b"\r\n"


@pytest.fixture(scope="module")
def compressing() -> Iterator[Dovecot]:
    """A Dovecot that compresses."""
    extra = "mail_plugins = zlib\nprotocol imap {\n  mail_plugins = zlib imap_zlib\n}\n"
    with running_dovecot(Path(tempfile.mkdtemp(prefix="imapped-dovecot-")), extra=extra) as server:
        yield server


@pytest.mark.parametrize("tls", [False, True])
def test_dovecot_compresses(connect: Connect, compressing: Dovecot, tls: bool) -> None:
    user = new_user()
    for message in (TEXT, NOISE):
        compressing.deliver(user, message)
    port = compressing.tls_port if tls else compressing.plain_port
    endpoint = Endpoint("127.0.0.1", port, "tls" if tls else "plain", compressing.ca_file)
    credentials = Credentials("login", user, compressing.password)

    sizes = []
    for profile in (Profile("x", "x", masked=frozenset({"COMPRESS=DEFLATE"})), GENERIC):
        with connect(endpoint, credentials, profile=profile) as client:
            assert "COMPRESS=DEFLATE" in client.capabilities
            client.examine(b"INBOX")
            bodies = [message.sections[b""] for message in fetched(client, [1, 2], b"(BODY.PEEK[])")]
            assert bodies == [TEXT, NOISE]
            assert client.noop() == []
            assert client.refused == frozenset()
            usage = client.statistics.by_command
            assert sum(used.bytes_in for used in usage.values()) == client.statistics.bytes_in
            assert sum(used.bytes_out for used in usage.values()) == client.statistics.bytes_out
            sizes.append(client.statistics.bytes_in)
    # What is counted is what went over the wire.
    assert sizes[0] > len(TEXT) + len(NOISE)
    assert sizes[1] < sizes[0] / 2


def test_dovecot_announces_under_compression(connect: Connect, compressing: Dovecot) -> None:
    user = new_user()
    endpoint = Endpoint("127.0.0.1", compressing.plain_port, "plain")
    with connect(endpoint, Credentials("login", user, compressing.password)) as client:
        client.examine(b"INBOX")
        assert list(client.idle(seconds=0.05)) == []
        compressing.deliver(user, TEXT)
        assert next(client.idle(seconds=60)).kind is IdleKind.EXISTS
        assert client.uid_search() == [1]


def deflated(*pieces: bytes) -> bytes:
    """Return what a server sends for pieces that it flushes."""
    deflater = zlib.compressobj(level=9, wbits=-15)
    return b"".join(deflater.compress(piece) + deflater.flush(zlib.Z_SYNC_FLUSH) for piece in pieces)


def compressed_session(first: bytes = b"") -> Session:
    """Return a session that has agreed on compression; ``first`` came with the server's OK."""
    state = session("COMPRESS=DEFLATE", "IDLE")
    run(compress(state), [b"A0001 OK go\r\n" + first])
    return state


def test_what_came_with_the_ok_is_compressed_already() -> None:
    state = compressed_session(deflated(b"* 5 EXISTS\r\nA0002 OK done\r\n"))
    sent: list[bytes] = []

    assert [event.number for event in run(idle.noop(state), [], sent)] == [5]
    assert zlib.decompressobj(wbits=-15).decompress(b"".join(sent)) == b"A0002 NOOP\r\n"
    assert state.statistics.bytes_out == len(b"A0001 COMPRESS DEFLATE\r\n") + len(sent[0])


def test_a_small_packet_that_inflates_to_much_costs_no_memory() -> None:
    bomb = deflated(b"* OK " + b"x" * (200 << 20), b"\r\nA0002 OK done\r\n")
    state = compressed_session()
    assert len(bomb) < 300_000
    tracemalloc.start()
    with pytest.raises(ProtocolViolation, match="exceeds every limit"):
        run(idle.noop(state), [bomb[:100], bomb[100:]])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 100 << 20


def test_many_announcements_in_one_packet_all_arrive() -> None:
    # Inflated they take several steps.
    lines = b"".join(b"* %d EXISTS\r\n" % number for number in range(1, 60_001))
    state = compressed_session()

    events = run(idle.wait(state), [deflated(b"+ idling\r\n" + lines)])
    assert events is not None
    assert events[-1].number == 60_000


@pytest.mark.parametrize("junk", [b"\xff" * 50, b"* 5 EXISTS in the clear\r\n" * 3, zlib.compress(b"x"), b"\x03\x00"])
def test_a_broken_stream_is_a_fault(junk: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="compressed stream"):
        run(idle.noop(compressed_session()), [junk, junk])


@given(st.lists(st.binary(max_size=2_000), max_size=20), st.integers(1, 500))
def test_both_directions_give_back_what_was_put_in(pieces: list[bytes], size: int) -> None:
    one, other = Compression(), Compression()
    wire = b"".join(one.deflate(piece) for piece in pieces)
    back = b""
    for start in range(0, len(wire), size):
        back += other.inflate(wire[start : start + size])
        while other.pending:
            back += other.inflate(b"")
    assert back == b"".join(pieces)
