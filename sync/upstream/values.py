"""What an upstream tells, as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from mailcache.wire.framing import LiteralSink

NO_SECTIONS: Mapping[bytes, bytes | LiteralSink | None] = {}


class ListedMailbox(NamedTuple):
    """A mailbox as LIST tells it."""

    name_raw: bytes
    """The name as it has to be sent back."""
    name: str
    """The name as people read it; two different ``name_raw`` may give the same."""
    delimiter: str | None
    attributes: frozenset[str]
    r"""As the RFCs spell them: ``\Noselect``, ``\Sent``."""


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


class IdleEvent(NamedTuple):
    """One announcement: the number in front of it, and the message for FETCH."""

    kind: IdleKind
    number: int | None = None
    message: FetchedMessage | None = None


@dataclass(slots=True)
class Statistics:
    """What one connection has done."""

    commands: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    malformed: int = 0
    """Responses that could not be read and were left out."""
