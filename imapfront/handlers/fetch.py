"""FETCH and UID FETCH (RFC 3501 6.4.5).

What the snapshot knows is answered from memory. The rest is read in blocks of messages. Bytes that are not here yet are
asked for; the other messages do not wait for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imapfront.errors import Answer, CommandFailed, completed
from imapfront.handlers.fetch_blocks import BLOCK, is_from_memory, write_block, write_from_memory
from imapfront.handlers.fetch_missing import MissingMessages
from imapfront.session import Selected, Session
from imapfront.wire.commands import Fetch

_QUICK_MESSAGES = 1000


def fetch(session: Session, command: Fetch) -> Answer | None:
    """Answer at once what is in memory and short."""
    if not is_from_memory(command):
        return None
    selected = session.mailbox
    positions = _positions(selected, command)
    if sum(map(len, positions)) > _QUICK_MESSAGES:
        return None
    missing = write_from_memory(session, command, [position for one in positions for position in one])
    return _ended(command, expunged=missing, unavailable=0)


async def run_fetch(session: Session, command: Fetch) -> Answer:
    """Answer block by block, then what is not here yet as it comes."""
    selected = session.mailbox
    await session.refresh()
    if command.uid:
        session.send_updates()
    missing = MissingMessages(session, command)
    expunged = unavailable = 0
    for block in _blocks(_positions(selected, command)):
        if is_from_memory(command):
            expunged += write_from_memory(session, command, block)
        else:
            written = await write_block(session, command, block, on_missing=missing.add)
            expunged += written.gone
            unavailable += written.broken
        await session.channel.drain()
    await missing.write_as_they_come()
    return _ended(command, expunged=expunged + missing.gone, unavailable=unavailable + missing.unavailable)


def _positions(selected: Selected, command: Fetch) -> list[range]:
    try:
        return selected.view.positions(command.numbers, uid=command.uid)
    except IndexError:
        raise CommandFailed("no such message", status="BAD") from None


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
