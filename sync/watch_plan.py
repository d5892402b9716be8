"""What a watcher listens to, and what counts as news. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sync import planner

INBOX = b"INBOX"
# The watcher's main connection, one for listing and one for bodies (design section 6).
_NEEDED = 3


class Numbers(NamedTuple):
    """What tells that a mailbox changed; None where the upstream did not tell."""

    uidvalidity: int | None
    uidnext: int | None
    exists: int | None
    highestmodseq: int | None


UNKNOWN = Numbers(None, None, None, None)


class WatchedMailbox(NamedTuple):
    """A mailbox of an account, with the numbers of its last finished comparison."""

    id: int
    name_raw: bytes
    role: str = ""
    numbers: Numbers = UNKNOWN
    last_arrival: float = 0.0
    """When a message last appeared in it, in seconds; 0 where that is long ago."""


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """The mailboxes of an account: the one that the main connection has open, then those that need one most."""

    main: WatchedMailbox | None
    others: Sequence[WatchedMailbox]

    @classmethod
    def of(cls, mailboxes: Sequence[WatchedMailbox]) -> WatchPlan:
        """Return the plan for mailboxes in any order."""
        main = next((mailbox for mailbox in mailboxes if mailbox.role == "inbox"), None)
        others = sorted((mailbox for mailbox in mailboxes if mailbox is not main), key=_urgency)
        return cls(main, others)

    def by_name(self) -> Mapping[bytes, WatchedMailbox]:
        """Return all mailboxes by the upstream's name."""
        found = {mailbox.name_raw: mailbox for mailbox in self.others}
        if self.main is not None:
            found |= {self.main.name_raw: self.main, INBOX: self.main}
        return found


def _urgency(mailbox: WatchedMailbox) -> tuple[bool, float, tuple[int, str]]:
    """Sort key: where Gmail's messages live first, then where mail came last, then by role."""
    by_role = planner.mailbox_order(mailbox.role, mailbox.name_raw.decode("ascii", "replace"))
    return (mailbox.role != "all", -mailbox.last_arrival, by_role)


def extra_connections(limit: int, *, busy: bool) -> int:
    """Return how many mailboxes besides the main one may have a connection that idles.

    They get what no worker needs; while a long sync is ``busy``, workers need all of them.
    """
    return 0 if busy else max(0, limit - _NEEDED)


def has_changed(before: Numbers, now: Numbers) -> bool:
    """Tell whether a mailbox changed between two looks at it. Only what both looks told can be compared."""
    if before == UNKNOWN:
        return True
    return any(old is not None and new is not None and old != new for old, new in zip(before, now, strict=True))
