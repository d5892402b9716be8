"""What the server holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.builders import message_bytes

DATE = b"17-May-2024 10:30:00 +0200"


@dataclass(slots=True)
class Mail:
    """One message. ``told`` counts how often its body was asked for."""

    data: bytes
    flags: frozenset[str] = frozenset()
    date: bytes = DATE
    modseq: int = 1
    told: int = 0


@dataclass(slots=True)
class Box:
    """One mailbox."""

    uidvalidity: int = 7
    attributes: bytes = b""
    uidnext: int = 1
    modseq: int = 1
    messages: dict[int, Mail] = field(default_factory=dict)
    expunged: list[tuple[int, int]] = field(default_factory=list)
    """Modseq and UID of what is gone."""
    selected: bool = False
    """Whether it was opened by SELECT, ever."""

    def deliver(self, count: int = 1, *flags: str, data: bytes = b"", uids: Iterable[int] = ()) -> None:
        """Add messages."""
        for uid in uids or range(self.uidnext, self.uidnext + count):
            self.modseq += 1
            found = data or message_bytes(f"number {uid}")
            self.messages[uid] = Mail(found, frozenset(flags), modseq=self.modseq)
            self.uidnext = uid + 1

    def flag(self, uid: int, *flags: str) -> None:
        """Set the flags of a message."""
        self.modseq += 1
        self.messages[uid].flags, self.messages[uid].modseq = frozenset(flags), self.modseq

    def expunge(self, uid: int) -> None:
        """Remove a message."""
        self.modseq += 1
        del self.messages[uid]
        self.expunged.append((self.modseq, uid))


@dataclass(slots=True)
class Connection:
    """What one connection has come to."""

    name: bytes = b""
    """The mailbox that is open."""
    identified: bool = False
    logged_in: bool = False
    enabled: set[bytes] = field(default_factory=set)
    exists: int = 0
    """What it was told last."""
    noops: int = 0
    idled: int = 0
    """How often it idled since its last NOOP."""
    throttled_at: float = 0.0
