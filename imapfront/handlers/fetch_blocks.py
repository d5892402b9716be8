"""One block of FETCH answers: one query, then the bytes of small messages, some MB in one turn of a thread or query.

Those of large messages are read piece by piece. So a client that takes its time holds little of this server's memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

from imapfront.fetch_sections import MessageBytes, SectionsMissing, bytes_wanted, write_sections
from imapfront.handlers.fetch_seen import mark_seen, note_told
from imapfront.session import Selected, Session, flags_item, modseq_item
from imapfront.wire import responses
from imapfront.wire.commands import BodySection, Fetch, FetchAttribute
from mailcache.reads.contents import ContentRow, load_contents
from mailcache.wire.dates import format_date_time

BLOCK = 500
# So many octets of small messages are read before the client has taken those before.
_READ_BYTES = 4 * 1024 * 1024
_FROM_MEMORY = (
    FetchAttribute.UID
    | FetchAttribute.FLAGS
    | FetchAttribute.INTERNALDATE
    | FetchAttribute.RFC822_SIZE
    | FetchAttribute.MODSEQ
)
_STRUCTURES = {
    FetchAttribute.ENVELOPE: "envelope",
    FetchAttribute.BODY: "body",
    FetchAttribute.BODYSTRUCTURE: "bodystructure",
}

OnMissing = Callable[[Sequence[int]], Awaitable[None]]


class Written(NamedTuple):
    """What a block did not answer: how many messages are gone, how many stored ones cannot be read, and positions of
    those that are not here yet.
    """

    gone: int
    broken: int
    missing: Sequence[int]


def is_from_memory(command: Fetch) -> bool:
    """True when the snapshot holds everything that is asked for."""
    return not command.sections and not command.attributes & ~_FROM_MEMORY


def is_listing(command: Fetch) -> bool:
    """True when headers are enough to answer."""
    structures = FetchAttribute.BODY | FetchAttribute.BODYSTRUCTURE
    return not command.attributes & structures and all(map(_is_header, command.sections))


def write_from_memory(session: Session, command: Fetch, block: Sequence[int]) -> int:
    """Write one block of answers; returns how many messages are gone."""
    selected = session.mailbox
    uids, snapshot = selected.view.uids, selected.shared.snapshot
    same = uids is snapshot.uids
    lines: list[bytes] = []
    missing = 0
    for position in block:
        at = position if same else snapshot.position(uids[position])
        if at < 0:
            missing += 1
        else:
            items = _memory_items(selected, command.attributes, uids[position], at)
            lines.append(b"* %d FETCH (%b)\r\n" % (position + 1, b" ".join(items)))
    session.write(b"".join(lines))
    return missing


async def write_block(
    session: Session, command: Fetch, block: Sequence[int], *, on_missing: OnMissing | None = None
) -> Written:
    """Write one block; ``on_missing`` is told of what is not here before the others' bytes are read."""
    selected = session.mailbox
    uids = {position: selected.view.uids[position] for position in block}
    rows = await load_contents(
        session.services.pool,
        session.user,
        selected.shared.id,
        list(uids.values()),
        structures=frozenset(name for flag, name in _STRUCTURES.items() if command.attributes & flag),
        bytes_wanted=bytes_wanted(command.sections),
        most_bytes=_READ_BYTES,
    )
    there = [position for position, uid in uids.items() if uid in rows and selected.shared.snapshot.position(uid) >= 0]
    missing = [position for position in there if not _is_complete(rows[uids[position]], command)]
    if missing and on_missing is not None:
        await on_missing(missing)
    complete = {position: rows[uids[position]] for position in sorted(set(there).difference(missing))}
    broken = await _write_rows(session, command, complete)
    return Written(len(block) - len(there), broken, missing)


async def _write_rows(session: Session, command: Fetch, rows: dict[int, ContentRow]) -> int:
    """Write the answers of messages, by position, of which everything is here; returns how many cannot be read."""
    told_flags = await mark_seen(session, command, [row.uid for row in rows.values()])
    return sum([await _write_some(session, command, some, told_flags) for some in _by_bytes(rows)])


async def _write_some(
    session: Session, command: Fetch, rows: Mapping[int, ContentRow], told_flags: frozenset[int]
) -> int:
    """Read at once what is small, and write; a function by itself, so that the bytes go before the next are read."""
    contents = await MessageBytes.read(session, rows.values(), command.sections)
    writer = _BlockWriter(session, command, contents, told_flags)
    return sum([not await writer.write(position, row) for position, row in rows.items()])


def _by_bytes(rows: Mapping[int, ContentRow]) -> Iterator[dict[int, ContentRow]]:
    """Cut rows, in order, where the messages exceed what is read at once."""
    some: dict[int, ContentRow] = {}
    total = 0
    for position, row in rows.items():
        size = row.size or row.held_size or 0
        if some and total + size > _READ_BYTES:
            yield some
            some, total = {}, 0
        some[position] = row
        total += size
    if some:
        yield some


@dataclass(frozen=True, slots=True)
class _BlockWriter:
    """Writes the answers of one block, for which everything has been read that is read at once."""

    session: Session
    command: Fetch
    contents: MessageBytes
    told_flags: frozenset[int]

    async def write(self, position: int, row: ContentRow) -> bool:
        """Write one message's answer; False, with nothing written, when its bytes are not where they should be."""
        selected = self.session.mailbox
        at = selected.shared.snapshot.position(row.uid)
        if at < 0:
            return True  # expunged since the block was read: the client is told in its time
        attributes = self.command.attributes
        if row.uid in self.told_flags:
            attributes |= FetchAttribute.FLAGS
            if self.session.condstore:
                attributes |= FetchAttribute.MODSEQ
            note_told(self.session, row.uid, at)
        items = _memory_items(selected, attributes, row.uid, at)
        for flag, name in _STRUCTURES.items():
            if attributes & flag:
                items.append(name.upper().encode("ascii") + b" " + getattr(row, name))
        if not self.command.sections:
            self.session.write(responses.fetch(position + 1, items))
            return True
        try:
            await write_sections(self.session, position + 1, items, row, self.command.sections, self.contents)
        except SectionsMissing:
            return False
        return True


def _memory_items(selected: Selected, attributes: FetchAttribute, uid: int, at: int) -> list[bytes]:
    snapshot = selected.shared.snapshot
    items: list[bytes] = []
    if attributes & FetchAttribute.UID:
        items.append(b"UID %d" % uid)
    if attributes & FetchAttribute.FLAGS:
        items.append(flags_item(selected, uid, at))
    if attributes & FetchAttribute.INTERNALDATE:
        items.append(b"INTERNALDATE " + _date(snapshot.dates[at], snapshot.zones[at]))
    if attributes & FetchAttribute.RFC822_SIZE:
        items.append(b"RFC822.SIZE %d" % snapshot.sizes[at])
    if attributes & FetchAttribute.MODSEQ:
        items.append(modseq_item(selected, at))
    return items


def _date(seconds: int, zone_minutes: int) -> bytes:
    zone = timezone(timedelta(minutes=zone_minutes)) if zone_minutes else UTC
    return format_date_time(datetime.fromtimestamp(seconds, tz=zone))


def _is_complete(row: ContentRow, command: Fetch) -> bool:
    """True when everything that is asked of a message is here."""
    for flag, name in _STRUCTURES.items():
        if command.attributes & flag and getattr(row, name) is None:
            return False
    return row.content_id is not None or all(
        _is_header(section) and row.held_size is not None for section in command.sections
    )


def _is_header(section: BodySection) -> bool:
    return not section.section.path and section.section.kind.value.startswith("HEADER")
