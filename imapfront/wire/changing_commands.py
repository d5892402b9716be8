"""The commands that change mail, as values (RFC 3501 6.3, 6.4; RFC 3502, 4315, 6851, 6154, 7162)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from imapfront.wire.commands import Command
from mailcache.flags import FlagSet, FlagStore
from mailcache.wire.framing import Literal
from mailcache.wire.number_set import SequenceSet


@dataclass(frozen=True, slots=True)
class Store(Command):
    """STORE and UID STORE; ``unchanged_since`` spares messages that changed after that modseq (RFC 7162 3.1.3)."""

    numbers: SequenceSet
    store: FlagStore
    silent: bool = False
    unchanged_since: int | None = None
    uid: bool = False


@dataclass(frozen=True, slots=True)
class AppendedLiteral:
    """One message of APPEND: its flags, its date where the client gave one, and its bytes."""

    flags: FlagSet
    internal_date: datetime | None
    literal: Literal


@dataclass(frozen=True, slots=True)
class Append(Command):
    """APPEND of one or more messages (RFC 3502)."""

    mailbox: str
    messages: tuple[AppendedLiteral, ...]


@dataclass(frozen=True, slots=True)
class Copy(Command):
    """COPY and UID COPY."""

    numbers: SequenceSet
    mailbox: str
    uid: bool = False


@dataclass(frozen=True, slots=True)
class Move(Command):
    """MOVE and UID MOVE (RFC 6851)."""

    numbers: SequenceSet
    mailbox: str
    uid: bool = False


@dataclass(frozen=True, slots=True)
class Expunge(Command):
    """EXPUNGE, and UID EXPUNGE with the UIDs that it is confined to (RFC 4315 2.1)."""

    uids: SequenceSet | None = None

    @property
    def uid(self) -> bool:
        """True for UID EXPUNGE."""
        return self.uids is not None


@dataclass(frozen=True, slots=True)
class Create(Command):
    """CREATE; ``uses`` are special uses in lower case, as ``\\sent`` (RFC 6154 3)."""

    mailbox: str
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delete(Command):
    """DELETE."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename(Command):
    """RENAME."""

    mailbox: str
    new_name: str


@dataclass(frozen=True, slots=True)
class Subscribe(Command):
    """SUBSCRIBE."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class Unsubscribe(Command):
    """UNSUBSCRIBE."""

    mailbox: str
