"""What the commands on messages of the open mailbox share."""

from __future__ import annotations

from imapfront.errors import CommandFailed
from imapfront.session import Selected
from mailcache.wire.number_set import SequenceSet


def named_positions(selected: Selected, numbers: SequenceSet, *, uid: bool) -> list[range]:
    """Return the positions (from 0) in the client's view that it names; a number beyond the end is its mistake."""
    try:
        return selected.view.positions(numbers, uid=uid)
    except IndexError:
        raise CommandFailed("no such message", status="BAD") from None


def expect_writable(selected: Selected) -> None:
    """Refuse a change in a mailbox that was opened by EXAMINE."""
    if selected.read_only:
        raise CommandFailed("the mailbox is open for reading only", code="READ-ONLY")
