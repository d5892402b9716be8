"""FETCH and UID FETCH (RFC 3501 6.4.5).

What the snapshot knows is answered from memory. The rest is read in blocks of messages: one query, then the bytes of
small messages in one turn of a thread, those of large ones piece by piece as the client takes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from imapfront.errors import Answer, CommandFailed, completed
from imapfront.fetch_sections import MessageBytes, SectionsMissing, small_enough, write_sections
from imapfront.handlers.fetch_seen import mark_seen, note_told
from imapfront.session import Selected, Session, flags_item, modseq_item
from imapfront.wire import responses
from imapfront.wire.commands import Fetch, FetchAttribute
from mailcache.reads.contents import ContentRow, load_contents
from mailcache.wire.dates import format_date_time

BLOCK = 500
_QUICK_MESSAGES = 1000
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


def fetch(session: Session, command: Fetch) -> Answer | None:
    """Answer at once what is in memory and short."""
    if command.sections or command.attributes & ~_FROM_MEMORY:
        return None
    selected = session.mailbox
    _note_condstore(session, command)
    positions = _positions(selected, command)
    if sum(map(len, positions)) > _QUICK_MESSAGES:
        return None
    wanted = _changed(selected, command, [position for one in positions for position in one])
    missing = _write_from_memory(session, command, wanted)
    return _ended(command, expunged=missing, unavailable=0)


async def run_fetch(session: Session, command: Fetch) -> Answer:
    """Answer block by block."""
    selected = session.mailbox
    _note_condstore(session, command)
    await session.refresh()
    if command.uid:
        session.send_updates()
    expunged = unavailable = 0
    for named in _blocks(_positions(selected, command)):
        block = _changed(selected, command, named)
        if command.sections or command.attributes & ~_FROM_MEMORY:
            gone, not_here = await _write_block(session, command, block)
            expunged += gone
            unavailable += not_here
        else:
            expunged += _write_from_memory(session, command, block)
        await session.channel.drain()
    return _ended(command, expunged=expunged, unavailable=unavailable)


def _note_condstore(session: Session, command: Fetch) -> None:
    """Naming modseqs switches them on (RFC 7162 3.1)."""
    if command.attributes & FetchAttribute.MODSEQ:
        session.condstore = True


def _changed(selected: Selected, command: Fetch, block: Sequence[int]) -> Sequence[int]:
    """Return the positions of messages that have changed since the modseq that the client named, if it named one."""
    if command.changed_since is None:
        return block
    uids, snapshot = selected.view.uids, selected.shared.snapshot
    found = ((position, snapshot.position(uids[position])) for position in block)
    return [position for position, at in found if at < 0 or snapshot.modseqs[at] > command.changed_since]


def _positions(selected: Selected, command: Fetch) -> list[range]:
    try:
        return selected.view.positions(command.numbers, uid=command.uid)
    except IndexError:
        raise CommandFailed("no such message", status="BAD") from None


def _ended(command: Fetch, *, expunged: int, unavailable: int) -> Answer:
    if unavailable:
        text = f"{unavailable} messages have not been fetched from their server yet, try again later"
        return Answer("NO", text, "UNAVAILABLE")
    if expunged and not command.uid:
        return Answer("NO", "some of the messages no longer exist", "EXPUNGEISSUED")
    return completed("FETCH completed")


def _blocks(positions: Sequence[range]) -> Iterator[list[int]]:
    block: list[int] = []
    for one in positions:
        for position in one:
            block.append(position)
            if len(block) == BLOCK:
                yield block
                block = []
    if block:
        yield block


def _write_from_memory(session: Session, command: Fetch, block: Sequence[int]) -> int:
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


async def _write_block(session: Session, command: Fetch, block: Sequence[int]) -> tuple[int, int]:
    """Write one block; returns how many messages are gone, and of how many something is not here yet."""
    selected = session.mailbox
    uids = [selected.view.uids[position] for position in block]
    rows = await load_contents(
        session.services.pool,
        session.user,
        selected.shared.id,
        uids,
        structures=frozenset(name for flag, name in _STRUCTURES.items() if command.attributes & flag),
        bytes_wanted=bool(command.sections),
    )
    complete = {uid: row for uid, row in rows.items() if _is_complete(row, command)}
    told_flags = await mark_seen(session, command, complete)
    small = [row for row in complete.values() if command.sections and small_enough(row, command.sections)]
    contents = await MessageBytes.read(session.services.threads, small) if small else MessageBytes({})
    writer = _BlockWriter(session, command, contents, told_flags)
    gone = unavailable = 0
    for position, uid in zip(block, uids, strict=True):
        at = selected.shared.snapshot.position(uid)
        if uid not in rows or at < 0:
            gone += 1
        elif uid not in complete or not await writer.write(position, at, complete[uid]):
            unavailable += 1
    return gone, unavailable


@dataclass(frozen=True, slots=True)
class _BlockWriter:
    """Writes the answers of one block, for which everything has been read that is read at once."""

    session: Session
    command: Fetch
    contents: MessageBytes
    told_flags: frozenset[int]

    async def write(self, position: int, at: int, row: ContentRow) -> bool:
        """Write one message's answer; False, with nothing written, when its bytes are not where they should be."""
        attributes = self.command.attributes
        if row.uid in self.told_flags:
            attributes |= FetchAttribute.FLAGS
            if self.session.condstore:
                attributes |= FetchAttribute.MODSEQ
            note_told(self.session, row.uid, at)
        items = _memory_items(self.session.mailbox, attributes, row.uid, at)
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


def _is_complete(row: ContentRow, command: Fetch) -> bool:
    """True when everything that is asked of a message is here."""
    for flag, name in _STRUCTURES.items():
        if command.attributes & flag and getattr(row, name) is None:
            return False
    return row.content_id is not None or all(
        not section.section.path and section.section.kind.value.startswith("HEADER") and row.header is not None
        for section in command.sections
    )
