"""Reading a body sets \\Seen (RFC 3501 6.4.5), through the same service that STORE uses."""

from __future__ import annotations

from collections.abc import Iterable

from imapfront.session import Session
from imapfront.wire.commands import Fetch
from mailcache.flags import FlagSet, FlagStore, StoreMode, SystemFlag
from mailcache.services.flags import store_flags
from mailcache.wire.number_set import NumberSet

_SEEN = FlagStore(StoreMode.ADD, FlagSet(SystemFlag.SEEN))


async def mark_seen(session: Session, command: Fetch, uids: Iterable[int]) -> frozenset[int]:
    """Mark messages whose sections are read without PEEK; returns the UIDs whose flags changed by it."""
    selected = session.mailbox
    if selected.read_only or all(section.peek for section in command.sections):
        return frozenset()
    snapshot = selected.shared.snapshot
    unseen = [
        uid
        for uid in uids
        if (at := snapshot.position(uid)) >= 0
        and not snapshot.combinations[snapshot.flag_indexes[at]].system & SystemFlag.SEEN
    ]
    if not unseen:
        return frozenset()
    result = await session.services.threads.run(
        store_flags,
        user_id=session.user.user_id,
        mailbox_id=selected.shared.id,
        uids=NumberSet.from_numbers(unseen),
        store=_SEEN,
    )
    return frozenset(result.changed if await session.refresh_if_possible() else ())


def note_told(session: Session, uid: int, at: int) -> None:
    """The flags of a message have been told just now: the next update need not tell them again."""
    selected = session.mailbox
    selected.view.told[uid] = selected.shared.snapshot.modseqs[at]
