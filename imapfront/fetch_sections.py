"""BODY[section] of stored messages: byte ranges of segments, sent whole or piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imapfront.db import ServiceThreads
from imapfront.session import Session
from imapfront.wire.commands import BodySection
from mailcache.errors import SegmentMissing
from mailcache.mime.parsed import LISTING_FIELDS
from mailcache.mime.sections import SectionKind, SectionTable, filter_header
from mailcache.reads.contents import ContentRow
from mailcache.segments import read_range

# Larger messages are sent in pieces, and only the asked-for range of them is read.
_SMALL_BYTES = 256 * 1024
_PIECE_BYTES = 256 * 1024
# Fields are picked out of headers up to this size; nobody's header is larger.
_MAX_FILTERED_HEADER = 4 * 1024 * 1024


class SectionsMissing(Exception):
    """The bytes of a message are not where its row says, or not here yet. Nothing was written."""


@dataclass(frozen=True, slots=True)
class MessageBytes:
    """The bytes of the small messages of a block, by UID."""

    by_uid: dict[int, bytes]

    @classmethod
    async def read(cls, threads: ServiceThreads, rows: Sequence[ContentRow]) -> MessageBytes:
        """Read them all in one turn of a thread; those that are missing are left out."""

        def read_all() -> dict[int, bytes]:
            found: dict[int, bytes] = {}
            for row in rows:
                try:
                    found[row.uid] = _read(row, 0, row.size or 0)
                except SegmentMissing:
                    continue
            return found

        return cls(await threads.read(read_all))


@dataclass(frozen=True, slots=True)
class _Value:
    """One section's value: bytes, a range of the stored message, or None for a part that does not exist."""

    data: bytes | None = None
    start: int = 0
    size: int = 0
    exists: bool = True


def small_enough(row: ContentRow, sections: Sequence[BodySection]) -> bool:
    """True when the whole message may as well be read; not where the listing headers are all that is asked for."""
    if row.content_id is None or row.size is None or row.size > _SMALL_BYTES:
        return False
    return not all(_from_listing(row, section) for section in sections)


async def write_sections(
    session: Session,
    number: int,
    items: list[bytes],
    row: ContentRow,
    sections: Sequence[BodySection],
    contents: MessageBytes,
) -> None:
    """Write the FETCH answer of one message; raises ``SectionsMissing`` before anything is written."""
    whole = contents.by_uid.get(row.uid)
    if whole is None and row.content_id is not None and small_enough(row, sections):
        raise SectionsMissing
    table = SectionTable.unpack(bytes(row.sections)) if row.sections is not None else None
    reader = _Reader(session.services.threads, row, whole)
    try:
        values = [await _value(reader, table, section) for section in sections]
        # The first bytes of a range tell whether the segment is there at all.
        for value in values:
            if value.data is None and value.exists and value.size:
                await reader.read(value.start, 1)
    except SegmentMissing:
        raise SectionsMissing from None
    await _write(session, number, items, sections, values, reader)


async def _write(
    session: Session,
    number: int,
    items: list[bytes],
    sections: Sequence[BodySection],
    values: Sequence[_Value],
    reader: _Reader,
) -> None:
    pending = [b"* %d FETCH (" % number + b" ".join(items)]
    for index, (section, value) in enumerate(zip(sections, values, strict=True)):
        pending.append((b" " if items or index else b"") + section.label + b" ")
        if not value.exists:
            pending.append(b"NIL")
        elif value.data is not None:
            pending.append(b"{%d}\r\n%b" % (len(value.data), value.data))
        else:
            pending.append(b"{%d}\r\n" % value.size)
            session.write(b"".join(pending))
            pending = []
            await _stream(session, reader, value)
    pending.append(b")\r\n")
    session.write(b"".join(pending))
    await session.channel.drain()


async def _stream(session: Session, reader: _Reader, value: _Value) -> None:
    end = value.start + value.size
    for start in range(value.start, end, _PIECE_BYTES):
        try:
            piece = await reader.read(start, min(_PIECE_BYTES, end - start))
        except SegmentMissing as error:
            # Whatever was said now would be taken for the message.
            raise ConnectionAbortedError(str(error)) from error
        session.write(piece)
        await session.channel.drain()


async def _value(reader: _Reader, table: SectionTable | None, section: BodySection) -> _Value:
    row, wanted = reader.row, section.section
    if _from_listing(row, section):
        data = filter_header(bytes(row.listing_headers or b""), wanted.fields, exclude=False)
        return _Value(data=_partial(data, section))
    if table is None:
        header = bytes(row.header or b"")
        return _Value(data=_partial(_filtered(header, section), section))
    found = table.locate(wanted)
    if found is None:
        return _Value(exists=False)
    start, end = found
    if wanted.fields:
        header = await reader.read(start, min(end - start, _MAX_FILTERED_HEADER))
        return _Value(data=_partial(_filtered(header, section), section))
    if section.partial is not None:
        offset, length = section.partial
        start = min(start + offset, end)
        end = min(start + length, end)
    if reader.whole is not None:
        return _Value(data=reader.whole[start:end])
    return _Value(start=start, size=end - start)


def _from_listing(row: ContentRow, section: BodySection) -> bool:
    wanted = section.section
    return (
        wanted.kind is SectionKind.HEADER_FIELDS
        and not wanted.path
        and row.listing_headers is not None
        and LISTING_FIELDS.issuperset(wanted.fields)
    )


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


def _read(row: ContentRow, start: int, size: int) -> bytes:
    if row.inline is not None:
        return bytes(row.inline[start : start + size])
    if row.segment is None:
        raise SegmentMissing("a message without bytes")
    return read_range(row.segment, (row.offset or 0) + start, size)
