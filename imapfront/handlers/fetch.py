"""FETCH and UID FETCH (RFC 3501 6.4.5).

What the snapshot knows is answered from memory. The rest is read in blocks of messages. Bytes that are not here yet are
asked for; the other messages do not wait for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imapfront.errors import Answer, completed
from imapfront.handlers.fetch_blocks import BLOCK, is_from_memory, write_block, write_from_memory
from imapfront.handlers.fetch_missing import MissingMessages
from imapfront.handlers.positions import named_positions
from imapfront.session import Selected, Session
from imapfront.wire.commands import Fetch, FetchAttribute

_QUICK_MESSAGES = 1000


def fetch(session: Session, command: Fetch) -> Answer | None:
    """Answer at once what is in memory and short."""
    if not is_from_memory(command):
        return None
    selected = session.mailbox
    _note_condstore(session, command)
    positions = named_positions(selected, command.numbers, uid=command.uid)
    if sum(map(len, positions)) > _QUICK_MESSAGES:
        return None
    wanted = _changed(selected, command, [position for one in positions for position in one])
    missing = write_from_memory(session, command, wanted)
    return _ended(command, expunged=missing, unavailable=0)


async def run_fetch(session: Session, command: Fetch) -> Answer:
    """Answer block by block, then what is not here yet as it comes."""
    selected = session.mailbox
    _note_condstore(session, command)
    await session.refresh()
    if command.uid:
        session.send_updates()
    missing = MissingMessages(session, command)
    expunged = unavailable = 0
    for named in _blocks(named_positions(selected, command.numbers, uid=command.uid)):
        block = _changed(selected, command, named)
        if is_from_memory(command):
            expunged += write_from_memory(session, command, block)
        else:
            written = await write_block(session, command, block, on_missing=missing.add)
            expunged += written.gone
            unavailable += written.broken
        await session.channel.drain()
    await missing.write_as_they_come()
    return _ended(command, expunged=expunged + missing.gone, unavailable=unavailable + missing.unavailable)


def _note_condstore(session: Session, command: Fetch) -> None:
    """Naming modseqs switches them on (RFC 7162 3.1)."""
    if command.attributes & FetchAttribute.MODSEQ:
        session.enable_condstore()


def _changed(selected: Selected, command: Fetch, block: Sequence[int]) -> Sequence[int]:
    """Return the positions of messages that have changed since the modseq that the client named, if it named one."""
    if command.changed_since is None:
        return block
    uids, snapshot = selected.view.uids, selected.shared.snapshot
    found = ((position, snapshot.position(uids[position])) for position in block)
    return [position for position, at in found if at < 0 or snapshot.modseqs[at] > command.changed_since]


def _ended(command: Fetch, *, expunged: int, unavailable: int) -> Answer:
    if unavailable:
        text = f"{unavailable} messages could not be fetched from their server, try again later"
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
