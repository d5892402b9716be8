"""FETCH while the store of messages' bytes fails, and how much of a block is in memory at once."""

from __future__ import annotations

import asyncio
import re
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from imapfront import connection as connections
from imapfront import fetch_sections
from imapfront.connection import Connection
from imapfront.db import ServiceThreads
from imapfront.errors import Answer, answer_to, completed
from imapfront.fetch_sections import MessageBytes, write_sections
from imapfront.handlers import Handler, fetch_blocks
from imapfront.handlers.fetch_blocks import write_block
from imapfront.session import Selected, Services, Session
from imapfront.states import State
from imapfront.wire.commands import Fetch
from imapfront.wire.parse_command import parse_command
from mailcache.errors import SegmentMissing, SegmentUnavailable
from mailcache.flags import FlagSet
from mailcache.mime.parsed import parse_header, parse_message
from mailcache.models import Content, Listing
from mailcache.reads.contents import ContentRow, load_contents, load_held
from mailcache.reads.mailboxes import Scope
from mailcache.reads.pool import make_pool
from mailcache.segments import local_path
from mailcache.services.append import append_messages, inline_message
from mailcache.services.ingest_headers import HeaderRow, add_headers
from mailcache.wire.framing import Frame
from tests.builders import INTERNAL_DATE, add_skeleton, message_bytes, skeleton_row
from tests.imapfront.fixtures import MirroredAccount
from tests.imapfront.frontend import Frontend
from tests.imapfront.one_connection import eventually, logged_in
from tests.imapfront.raw_client import RawClient

PIECE = 256 * 1024
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 64 * 1024


def parsed(items: bytes) -> Fetch:
    command = parse_command(Frame((b"a FETCH 1 (" + items + b")",))).command
    assert isinstance(command, Fetch)
    return command


def stored(data: bytes) -> ContentRow:
    """The row of a message whose bytes are in a segment."""
    known: dict[str, Any] = {"uid": 1, "content_id": 1, "size": len(data), "segment": "s", "offset": 0}
    known["sections"] = parse_message(data).sections
    return ContentRow(**cast("Any", {name: known.get(name) for name in ContentRow._fields}))


class TestWhileTheStoreFails:
    """In one connection without a socket, whose FETCH reads from a store that the test plays."""

    def ask(self, monkeypatch: pytest.MonkeyPatch, items: bytes, read: Callable[..., bytes]) -> tuple[Connection, Any]:
        connection, transport, session = logged_in()
        session.state = State.SELECTED
        session.services = replace(session.services, threads=ServiceThreads(1))
        monkeypatch.setattr(fetch_sections, "read_range", read)

        async def fetch(session: Session, command: Any) -> Answer:
            await write_sections(session, 1, [], stored(LARGE), command.sections, MessageBytes({}))
            return completed("FETCH completed")

        monkeypatch.setattr(connections, "handler_of", lambda _: Handler(fetch))
        connection.data_received(b"a FETCH 1 (%b)\r\n" % items)
        return connection, transport

    @pytest.mark.parametrize("error", [SegmentMissing("gone"), SegmentUnavailable("away"), ValueError("a bug")])
    @pytest.mark.parametrize("items", [b"BODY.PEEK[]", b"BODY.PEEK[]<0.300000> BODY.PEEK[TEXT]"])
    async def test_nothing_is_said_within_a_message(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, items: bytes, error: Exception
    ) -> None:
        def read(_: str, start: int, size: int) -> bytes:
            if start + size > 2 * PIECE:
                raise error
            return LARGE[start : start + size]

        _, transport = self.ask(monkeypatch, items, read)

        await asyncio.wait_for(transport.aborted.wait(), 5)
        _, _, sent = transport.written.partition(b"}\r\n")
        assert len(sent) >= PIECE
        assert sent.startswith(LARGE[:PIECE])
        assert b"BYE" not in sent
        assert b"a NO" not in sent
        assert [str(error) in record.getMessage() for record in caplog.records] == [True]

    async def test_a_store_that_is_away_is_told_and_nothing_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def read(*_: object) -> bytes:
            raise SegmentUnavailable("the store is away")

        _, transport = self.ask(monkeypatch, b"BODY.PEEK[TEXT] BODY.PEEK[]", read)

        await eventually(lambda: b"\r\na " in transport.written)
        assert transport.written.endswith(b"\r\na NO [UNAVAILABLE] the store is away\r\n")
        assert b"FETCH (" not in transport.written
        assert not transport.closed

    def test_the_code_of_a_store_that_is_away(self) -> None:
        assert answer_to(SegmentUnavailable("away")) == Answer("NO", "away", "UNAVAILABLE")

    @pytest.mark.parametrize("data", [message_bytes(), LARGE])
    def test_a_segment_that_cannot_be_read(self, frontend: Frontend, mirrored: MirroredAccount, data: bytes) -> None:
        mirrored.add({1: data})
        segment = Content.objects.get().segment
        assert segment is not None
        path = local_path(segment.name)
        assert path is not None
        path.unlink()
        path.mkdir()  # it opens, and every read of it fails
        with RawClient(frontend.plain_port) as client:
            client.login(mirrored.user.email)
            client.command(b"SELECT INBOX")

            answer = client.command(b"FETCH 1 BODY.PEEK[TEXT]")

            assert [line[:19] for line in answer] == [b"t NO [UNAVAILABLE] "]
            assert client.command(b"NOOP")[-1].startswith(b"t OK")


class Taken:
    """A channel whose client takes everything; remembers how much was written at once."""

    def __init__(self) -> None:
        self.total = 0
        self.largest = 0
        self.undrained = 0
        self.most_undrained = 0
        self.written = b""
        self.keeps = True

    def write(self, data: bytes) -> None:
        self.total += len(data)
        self.largest = max(self.largest, len(data))
        self.undrained += len(data)
        self.most_undrained = max(self.most_undrained, self.undrained)
        if self.keeps:
            self.written += data

    async def drain(self) -> None:
        self.undrained = 0


def session_of(channel: Taken, **services: Any) -> Session:
    known = dict.fromkeys(Services.__dataclass_fields__) | services
    return Session(Services(**cast("Any", known)), cast("Any", channel), peer="test", is_local=True, tls=False)


async def test_many_sections_of_one_message_are_written_one_after_the_other() -> None:
    channel = Taken()
    channel.keeps = False
    data = LARGE[:PIECE]
    sections = parsed(b" ".join(b"BODY.PEEK[]<%d.262144>" % start for start in range(1, 81))).sections
    session = session_of(channel)

    tracemalloc.start()
    try:
        await write_sections(session, 1, [], stored(data), sections, MessageBytes({1: data}))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert channel.total > 80 * (PIECE - 100)
    assert channel.most_undrained <= 2 * PIECE
    assert peak < 8 * PIECE


class Block:
    """Writes one block of an INBOX, and remembers what was loaded for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, mirrored: MirroredAccount) -> None:
        self.channel = Taken()
        self.brought: list[int] = []
        self.later: list[list[int]] = []
        self._mirrored = mirrored

        async def note_contents(*args: Any, **kwargs: Any) -> dict[int, ContentRow]:
            rows = await load_contents(*args, **kwargs)
            self.brought += [len(row.held) for row in rows.values() if row.held is not None]
            return rows

        async def note_held(pool: Any, scope: Scope, mailbox: int, rows: Iterable[ContentRow]) -> dict[int, bytes]:
            held = await load_held(pool, scope, mailbox, rows)
            self.later.append([len(data) for data in held.values()])
            return held

        monkeypatch.setattr(fetch_blocks, "load_contents", note_contents)
        monkeypatch.setattr(fetch_sections, "load_held", note_held)

    def write(self, items: bytes, uids: list[int]) -> list[int]:
        """Write the answers; returns the positions of what is missing."""
        return asyncio.run(self._write(items, uids))

    async def _write(self, items: bytes, uids: list[int]) -> list[int]:
        async with make_pool(size=1) as pool:
            session = session_of(self.channel, pool=pool)
            session.scope = Scope(self._mirrored.user.pk)
            shared = SimpleNamespace(id=self._mirrored.inbox.pk, snapshot=SimpleNamespace(position=lambda uid: 0))
            selected = SimpleNamespace(shared=shared, view=SimpleNamespace(uids=uids), read_only=True)
            session.selected = cast("Selected", selected)
            written = await write_block(session, parsed(items), range(len(uids)))
        assert (written.gone, written.broken) == (0, 0)
        return list(written.missing)


def append(mirrored: MirroredAccount, messages: list[bytes]) -> list[int]:
    """Append messages, whose bytes are in their rows; returns their UIDs."""
    made = [inline_message(data, flags=FlagSet(), internal_date=INTERNAL_DATE) for data in messages]
    return list(append_messages(user_id=mirrored.user.pk, mailbox_id=mirrored.inbox.pk, messages=made).uids)


MESSAGES = [message_bytes(f"number {number}", "x" * 1000) for number in range(10)]


def test_few_bytes_come_with_their_rows(monkeypatch: pytest.MonkeyPatch, mirrored: MirroredAccount) -> None:
    uids = append(mirrored, MESSAGES)
    block = Block(monkeypatch, mirrored)

    assert block.write(b"BODY.PEEK[]", uids) == []

    assert (len(block.brought), block.later) == (10, [])
    assert all(data in block.channel.written for data in MESSAGES)


def test_many_bytes_come_some_at_a_time(monkeypatch: pytest.MonkeyPatch, mirrored: MirroredAccount) -> None:
    monkeypatch.setattr(fetch_blocks, "_READ_BYTES", 4000)
    uids = append(mirrored, MESSAGES)
    block = Block(monkeypatch, mirrored)

    assert block.write(b"BODY.PEEK[]", uids) == []

    sizes = [len(data) for data in MESSAGES]
    assert block.brought == []
    assert block.later == [sizes[start : start + 3] for start in range(0, 10, 3)]
    assert all(data in block.channel.written for data in MESSAGES)


@pytest.mark.parametrize("read_bytes", [4000, 4 * 1024 * 1024])
def test_what_the_listing_headers_answer_needs_no_bytes(
    monkeypatch: pytest.MonkeyPatch, mirrored: MirroredAccount, read_bytes: int
) -> None:
    monkeypatch.setattr(fetch_blocks, "_READ_BYTES", read_bytes)
    uids = append(mirrored, MESSAGES)
    Content.objects.filter(messages__uid=uids[4]).update(listing_headers=None)
    block = Block(monkeypatch, mirrored)

    assert block.write(b"BODY.PEEK[HEADER.FIELDS (SUBJECT)]", uids) == []

    # That of the one message without listing headers.
    assert (block.brought, block.later) == ([len(MESSAGES[4])], [])
    found = re.findall(rb"Subject: number (\d)\r\n\r\n", block.channel.written)
    assert found == [b"%d" % number for number in range(10)]


def test_headers_of_messages_without_bodies_come_some_at_a_time(
    monkeypatch: pytest.MonkeyPatch, mirrored: MirroredAccount
) -> None:
    monkeypatch.setattr(fetch_blocks, "_READ_BYTES", 1000)
    add_skeleton(mirrored.fence, mirrored.inbox, [skeleton_row(uid) for uid in range(1, 6)])
    header = b"Subject: a\r\nX-Long: " + b"x" * 400 + b"\r\n\r\n"
    remotes = Listing.objects.exclude(uid=5).order_by("uid").values_list("remote_id", flat=True)
    add_headers(fence=mirrored.fence, rows=[HeaderRow(remote, header, parse_header(header)) for remote in remotes])
    block = Block(monkeypatch, mirrored)

    assert block.write(b"BODY.PEEK[HEADER]", [1, 2, 3, 4, 5]) == [4]

    assert (block.brought, block.later) == ([], [[len(header)] * 2] * 2)
    assert block.channel.written.count(header) == 4
