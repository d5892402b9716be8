"""BODY[section] of stored messages: byte ranges of segments, sent whole or piece by piece."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from imapfront.db import ServiceThreads
from imapfront.session import Session
from imapfront.wire.commands import BodySection
from mailcache.errors import MailcacheError, SegmentMissing
from mailcache.mime.parsed import LISTING_FIELDS
from mailcache.mime.sections import SectionKind, SectionTable, filter_header
from mailcache.reads.contents import BytesWanted, ContentRow, load_held
from mailcache.segments import read_range

logger = logging.getLogger(__name__)

# Larger messages are sent in pieces, and only the asked-for range of them is read.
_SMALL_BYTES = 256 * 1024
_PIECE_BYTES = 256 * 1024
# Fields are picked out of headers up to this size; nobody's header is larger.
_MAX_FILTERED_HEADER = 4 * 1024 * 1024


class SectionsMissing(Exception):
    """The bytes of a message are not where its row says, or not here yet. Nothing was written."""


@dataclass(frozen=True, slots=True)
class MessageBytes:
    """The bytes of messages that are read at once, by UID."""

    by_uid: dict[int, bytes]

    @classmethod
    async def read(cls, session: Session, rows: Iterable[ContentRow], sections: Sequence[BodySection]) -> MessageBytes:
        """Read what sections need of small messages: at most one query, and one turn of a thread.

        Those that are missing are left out. Raises ``SegmentUnavailable``: whoever waits for a store that is away need
        not do so for each message.
        """
        wanted = [row for row in rows if _is_read_at_once(row, sections)]
        found = {row.uid: row.held for row in wanted if row.held is not None}
        services = session.services
        held = [row for row in wanted if row.held_size is not None and row.held is None]
        if held:
            found |= await load_held(services.pool, session.user, session.mailbox.shared.id, held)
        segments = [row for row in wanted if row.held_size is None]
        if segments:
            found |= await services.threads.read(_read_all, segments)
        return cls(found)


@dataclass(frozen=True, slots=True)
class _Range:
    """A section's value that is a range of the stored message."""

    start: int
    end: int


def bytes_wanted(sections: Sequence[BodySection]) -> BytesWanted:
    """Return of which messages sections need the bytes."""
    if not sections:
        return BytesWanted.NONE
    return BytesWanted.UNLISTED if all(map(_is_listed, sections)) else BytesWanted.ALL


async def write_sections(
    session: Session,
    number: int,
    items: list[bytes],
    row: ContentRow,
    sections: Sequence[BodySection],
    contents: MessageBytes,
) -> None:
    """Write the FETCH answer of one message, section by section.

    Raises ``SectionsMissing`` or ``SegmentUnavailable`` before anything is written. What fails later ends the
    connection.
    """
    whole = contents.by_uid.get(row.uid)
    if whole is None and _is_read_at_once(row, sections):
        raise SectionsMissing
    table = SectionTable.unpack(bytes(row.sections)) if row.sections is not None else None
    reader = _Reader(session.services.threads, row, whole)
    output = _Output(session)
    try:
        await output.add(b"* %d FETCH (" % number + b" ".join(items))
        for index, section in enumerate(sections):
            if index:
                # Other connections have their turn, however often a header is filtered.
                await asyncio.sleep(0)
            await output.add((b" " if items or index else b"") + section.label + b" ")
            await _write_value(output, reader, await _value(reader, table, section))
        await output.add(b")\r\n")
    except ConnectionError:
        raise  # the client has gone
    except Exception as error:
        if output.has_begun:
            # Whatever was said now would be taken for the message.
            is_known = isinstance(error, MailcacheError)
            logger.error("%s: cut off within a message: %s", session.peer, error, exc_info=None if is_known else error)
            raise ConnectionAbortedError(str(error)) from error
        if isinstance(error, SegmentMissing):
            raise SectionsMissing from error
        raise
    await output.end()


class _Output:
    """Gathers one answer, and sends it piece by piece as the client takes it."""

    def __init__(self, session: Session) -> None:
        self.has_begun = False
        self._session = session
        self._pending: list[bytes] = []
        self._size = 0

    async def add(self, data: bytes) -> None:
        self._pending.append(data)
        self._size += len(data)
        if self._size > _PIECE_BYTES:
            await self.end()

    async def end(self) -> None:
        """Send what is there."""
        self.has_begun = True
        self._session.write(b"".join(self._pending))
        self._pending.clear()
        self._size = 0
        await self._session.channel.drain()


async def _write_value(output: _Output, reader: _Reader, value: bytes | _Range | None) -> None:
    if value is None:
        await output.add(b"NIL")
    elif isinstance(value, bytes):
        await output.add(b"{%d}\r\n%b" % (len(value), value))
    else:
        await output.add(b"{%d}\r\n" % (value.end - value.start))
        for start in range(value.start, value.end, _PIECE_BYTES):
            await output.add(await reader.read(start, min(_PIECE_BYTES, value.end - start)))


async def _value(reader: _Reader, table: SectionTable | None, section: BodySection) -> bytes | _Range | None:
    """Return a section's value: its bytes, where they are, or None for a part that does not exist."""
    row, wanted = reader.row, section.section
    if _from_listing(row, section):
        data = filter_header(bytes(row.listing_headers or b""), wanted.fields, exclude=False)
        return _partial(data, section)
    if table is None:
        # Of a message whose body has not been fetched: what was read is its header.
        return _partial(_filtered(reader.whole or b"", section), section)
    found = table.locate(wanted)
    if found is None:
        return None
    start, end = found
    if wanted.fields:
        header = await reader.read(start, min(end - start, _MAX_FILTERED_HEADER))
        return _partial(_filtered(header, section), section)
    if section.partial is not None:
        offset, length = section.partial
        start = min(start + offset, end)
        end = min(start + length, end)
    return _Range(start, end)


def _is_read_at_once(row: ContentRow, sections: Sequence[BodySection]) -> bool:
    """True when the whole message may as well be read; not where the listing headers are all that is asked for."""
    if row.held_size is None and (row.size is None or row.size > _SMALL_BYTES):
        return False
    return not all(_from_listing(row, section) for section in sections)


def _from_listing(row: ContentRow, section: BodySection) -> bool:
    return row.listing_headers is not None and _is_listed(section)


def _is_listed(section: BodySection) -> bool:
    """True for fields that listing headers hold."""
    wanted = section.section
    return wanted.kind is SectionKind.HEADER_FIELDS and not wanted.path and LISTING_FIELDS.issuperset(wanted.fields)


def _filtered(header: bytes, section: BodySection) -> bytes:
    wanted = section.section
    if not wanted.fields:
        return header
    return filter_header(header, wanted.fields, exclude=wanted.kind is SectionKind.HEADER_FIELDS_NOT)


def _partial(data: bytes, section: BodySection) -> bytes:
    if section.partial is None:
        return data
    offset, length = section.partial
    return data[offset : offset + length]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads ranges of one message, from memory if it is there."""

    threads: ServiceThreads
    row: ContentRow
    whole: bytes | None

    async def read(self, start: int, size: int) -> bytes:
        if self.whole is not None:
            return self.whole[start : start + size]
        return await self.threads.read(_read, self.row, start, size)


def _read_all(rows: Sequence[ContentRow]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for row in rows:
        with suppress(SegmentMissing):
            found[row.uid] = _read(row, 0, row.size or 0)
    return found


def _read(row: ContentRow, start: int, size: int) -> bytes:
    if row.segment is None:
        raise SegmentMissing("a message without bytes")
    return read_range(row.segment, (row.offset or 0) + start, size)
