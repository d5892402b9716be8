"""A disk that is full or fails while a message arrives: the client is told, the log has it, and nothing is stored."""

from __future__ import annotations

import asyncio
import errno
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imapfront import connection as under_test
from imapfront.errors import Answer, CommandFailed, completed
from imapfront.handlers import Handler
from imapfront.handlers.append import _learn
from imapfront.protocol import MAX_MESSAGE_IN_MEMORY
from imapfront.session import Session
from imapfront.wire.changing_commands import AppendedLiteral
from mailcache.flags import FlagSet
from mailcache.spool import SpooledLiteral
from mailcache.wire.framing import Literal
from tests.imapfront.one_connection import eventually, logged_in

SIZE = MAX_MESSAGE_IN_MEMORY + 1
APPEND = b"a APPEND INBOX {%d+}\r\n" % SIZE
BYE = b"* BYE [UNAVAILABLE] the server cannot go on now, try again later\r\n"


class FullDisk(SpooledLiteral):
    """Takes the first piece only."""

    def write(self, chunk: bytes, /) -> None:
        if self.size:
            raise OSError(errno.ENOSPC, "No space left on device", str(self.path))
        super().write(chunk)


def no_more_files() -> SpooledLiteral:
    raise OSError(errno.EMFILE, "Too many open files")


def _errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [str(record.exc_info[1]) for record in caplog.records if record.levelno == logging.ERROR and record.exc_info]


async def test_a_literal_that_finds_no_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    connection, transport, _ = logged_in(open_spool=lambda: FullDisk(tmp_path))

    connection.data_received(APPEND + b"x")
    connection.data_received(b"y" * (SIZE - 1) + b"\r\nb NOOP\r\n")

    assert transport.written.endswith(BYE)
    assert transport.closed
    assert ["No space left" in error for error in _errors(caplog)] == [True]
    assert list(tmp_path.iterdir()) == []
    connection.connection_lost(None)


async def test_a_literal_for_which_no_file_can_be_opened(caplog: pytest.LogCaptureFixture) -> None:
    connection, transport, _ = logged_in(open_spool=no_more_files)

    connection.data_received(APPEND)

    assert transport.written.endswith(BYE)
    assert transport.closed
    assert ["Too many open files" in error for error in _errors(caplog)] == [True]
    connection.connection_lost(None)


async def test_a_literal_that_was_buffered_behind_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connection, transport, _ = logged_in(open_spool=lambda: FullDisk(tmp_path))
    go_on = asyncio.Event()

    async def slow(*_: object) -> Answer:
        await go_on.wait()
        return completed("done")

    monkeypatch.setattr(under_test, "handler_of", lambda _: Handler(slow))
    connection.data_received(b"a NOOP\r\n")
    monkeypatch.setattr(under_test, "handler_of", lambda _: Handler(never))
    spool = FullDisk(tmp_path)
    spool.write(b"x")
    monkeypatch.setattr(connection._protocol, "_open_spool", lambda: spool)
    connection.data_received(APPEND + b"y" * SIZE + b"\r\n")
    go_on.set()

    await eventually(lambda: transport.closed)
    assert transport.written.endswith(b"a OK done\r\n" + BYE)
    assert len(_errors(caplog)) == 1
    assert list(tmp_path.iterdir()) == []
    connection.connection_lost(None)


async def never(*_: object) -> Answer:
    raise AssertionError("a message with a hole was taken")


async def test_a_disk_that_fails_under_a_command(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connection, transport, _ = logged_in()

    async def fail(_: Session, __: Any) -> Answer:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(under_test, "handler_of", lambda _: Handler(fail))
    connection.data_received(b"a NOOP\r\n")

    await eventually(lambda: transport.closed)
    assert transport.written.endswith(BYE)
    assert ["No space left" in error for error in _errors(caplog)] == [True]
    connection.connection_lost(None)


def test_a_message_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    spool = SpooledLiteral(tmp_path)
    spool.write(b"x" * SIZE)
    appended = AppendedLiteral(FlagSet.of(0), None, Literal(SIZE + 1, sink=spool))

    with pytest.raises(CommandFailed, match="did not arrive whole") as refused:
        _learn(appended, 1, datetime.now(UTC))
    assert refused.value.answer.code == "UNAVAILABLE"
    spool.discard()


def test_what_cannot_be_written_out_is_still_removed(tmp_path: Path) -> None:
    spool = SpooledLiteral(tmp_path)
    spool._file = Path("/dev/full").open("wb")  # noqa: SIM115 - closed by what is tested
    spool.write(b"x")

    spool.discard()

    assert list(tmp_path.iterdir()) == []
