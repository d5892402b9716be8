"""What an upstream tells, as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from mailcache.wire.framing import LiteralSink
from mailcache.wire.number_set import NumberSet

NO_SECTIONS: Mapping[bytes, bytes | LiteralSink | None] = {}
NO_NUMBERS = NumberSet()


class MailboxStatus(NamedTuple):
    """What STATUS tells of a mailbox; None where the upstream did not tell."""

    messages: int | None = None
    uidnext: int | None = None
    uidvalidity: int | None = None
    highestmodseq: int | None = None
    mailbox_id: str | None = None


class ListedMailbox(NamedTuple):
    """A mailbox as LIST tells it."""

    name_raw: bytes
    """The name as it has to be sent back."""
    name: str
    """The name as people read it; two different ``name_raw`` may give the same."""
    delimiter: str | None
    attributes: frozenset[str]
    r"""As the RFCs spell them: ``\Noselect``, ``\Sent``."""
    status: MailboxStatus | None = None
    """Where it was asked for and the upstream told it with the list (RFC 5819)."""
    old_name_raw: bytes | None = None
    """The name before a rename, in an announcement (OLDNAME, RFC 5465 5.4)."""


class Namespace(NamedTuple):
    """One namespace of RFC 2342."""

    prefix_raw: bytes
    prefix: str
    delimiter: str | None


class Namespaces(NamedTuple):
    """What NAMESPACE tells."""

    personal: tuple[Namespace, ...] = ()
    other_users: tuple[Namespace, ...] = ()
    shared: tuple[Namespace, ...] = ()


class Resync(NamedTuple):
    """What was known of a mailbox when it was last in step (RFC 7162 3.2.5)."""

    uidvalidity: int
    modseq: int


@dataclass(frozen=True, slots=True)
class SelectedMailbox:
    """What SELECT or EXAMINE told; None where the upstream did not tell."""

    name_raw: bytes
    exists: int
    uidvalidity: int | None
    uidnext: int | None
    highestmodseq: int | None
    flags: tuple[str, ...]
    permanentflags: tuple[str, ...] | None
    read_only: bool
    mailbox_id: str
    resynced: bool = False
    """True when the upstream answered a ``Resync``: ``vanished`` and ``changed`` hold all that happened since then.

    False where QRESYNC is not to be had, UIDVALIDITY is another, or the answer was too large or could not be read.
    """
    vanished: NumberSet = NO_NUMBERS
    """UIDs that are gone; may name UIDs that never were."""
    changed: tuple[FetchedMessage, ...] = ()
    """UID, flags and modseq of messages that are new or changed."""


class FetchedMessage(NamedTuple):
    """One FETCH response; None where it did not tell.

    ``sections`` maps what stood between the brackets, in upper case and with the origin of a partial
    (``b""``, ``b"HEADER"``, ``b"TEXT<0>"``), to the bytes, to the sink that got them, or to None for NIL. What came
    as a quoted string is bytes even where a sink was offered. ``skipped`` names the sections that were too large to be
    kept in memory and had no sink.
    """

    seq: int
    uid: int | None = None
    flags: tuple[str, ...] | None = None
    internal_date: datetime | None = None
    size: int | None = None
    modseq: int | None = None
    email_id: str | None = None
    thread_id: str | None = None
    envelope_raw: bytes | None = None
    bodystructure_raw: bytes | None = None
    sections: Mapping[bytes, bytes | LiteralSink | None] = NO_SECTIONS
    skipped: frozenset[bytes] = frozenset()
    labels: tuple[str, ...] | None = None
    """X-GM-LABELS, decoded: ``\\Inbox``, ``Projects/One``."""


class LiteralInfo(NamedTuple):
    """A literal of a FETCH response that is about to come. ``uid`` is None where the upstream tells it later."""

    seq: int
    uid: int | None
    section: bytes
    size: int


OpenSink = Callable[[LiteralInfo], LiteralSink | None]
"""Where the bytes of a section go; None keeps them in memory."""
OnMessage = Callable[[FetchedMessage], object]


class IdleKind(Enum):
    """What an upstream announces by itself."""

    EXISTS = "EXISTS"
    EXPUNGE = "EXPUNGE"
    VANISHED = "VANISHED"
    FETCH = "FETCH"
    STATUS = "STATUS"
    """Something happened in another mailbox (NOTIFY)."""
    LIST = "LIST"
    """A mailbox was made, renamed or deleted (NOTIFY)."""
    OVERFLOW = "NOTIFICATIONOVERFLOW"
    """The upstream gave up on NOTIFY: anything may have happened."""


class IdleEvent(NamedTuple):
    """One announcement: the number in front of it, and what its kind tells."""

    kind: IdleKind
    number: int | None = None
    message: FetchedMessage | None = None
    vanished: NumberSet = NO_NUMBERS
    """UIDs of VANISHED; empty where there are too many to be kept."""
    name_raw: bytes = b""
    """The mailbox of STATUS and LIST; all else concerns the one that is open."""
    status: MailboxStatus | None = None
    listed: ListedMailbox | None = None


@dataclass(slots=True)
class CommandUsage:
    """What commands of one name have cost."""

    commands: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(slots=True)
class Statistics:
    """What one connection has done. Bytes are those of the wire: compressed where COMPRESS is on, before TLS."""

    commands: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    malformed: int = 0
    """Responses that could not be read and were left out."""
    by_command: dict[str, CommandUsage] = field(default_factory=dict)
    """The same by the name of the command that was running; all before a usable connection is ``LOGIN``."""
