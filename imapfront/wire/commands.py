"""Every command that is understood, as a value (RFC 3501 6). Mailbox names are ours, decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntFlag

from mailcache.mime.sections import Section
from mailcache.wire.number_set import SequenceSet
from search.query import Query


@dataclass(frozen=True, slots=True)
class Command:
    """What all commands share: the name under which the state table knows them."""

    @property
    def name(self) -> str:
        """The command's name in capitals, without UID."""
        return type(self).__name__.upper()


@dataclass(frozen=True, slots=True)
class Capability(Command):
    """CAPABILITY."""


@dataclass(frozen=True, slots=True)
class Noop(Command):
    """NOOP."""


@dataclass(frozen=True, slots=True)
class Logout(Command):
    """LOGOUT."""


@dataclass(frozen=True, slots=True)
class StartTls(Command):
    """STARTTLS."""


@dataclass(frozen=True, slots=True)
class Id(Command):
    """ID (RFC 2971): what the client says of itself."""

    parameters: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Login(Command):
    """LOGIN."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authenticate(Command):
    """AUTHENTICATE, with the initial response of SASL-IR (RFC 4959), still in base64."""

    mechanism: str
    initial_response: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Enable(Command):
    """ENABLE (RFC 5161)."""

    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Namespace(Command):
    """NAMESPACE (RFC 2342)."""


class StatusItem(Enum):
    """What STATUS can be asked for."""

    MESSAGES = "MESSAGES"
    RECENT = "RECENT"
    UIDNEXT = "UIDNEXT"
    UIDVALIDITY = "UIDVALIDITY"
    UNSEEN = "UNSEEN"
    HIGHESTMODSEQ = "HIGHESTMODSEQ"


@dataclass(frozen=True, slots=True)
class List(Command):
    """LIST (RFC 3501 6.3.8, RFC 5258, RFC 5819, RFC 6154)."""

    reference: str
    patterns: tuple[str, ...]
    subscribed_only: bool = False
    special_use_only: bool = False
    recursive_match: bool = False
    return_subscribed: bool = False
    return_children: bool = False
    return_status: tuple[StatusItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Lsub(Command):
    """LSUB."""

    reference: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Status(Command):
    """STATUS."""

    mailbox: str
    items: tuple[StatusItem, ...]


@dataclass(frozen=True, slots=True)
class Select(Command):
    """SELECT; ``condstore`` asks for modseqs from now on (RFC 7162 3.1.8)."""

    mailbox: str
    condstore: bool = False


@dataclass(frozen=True, slots=True)
class Examine(Command):
    """EXAMINE."""

    mailbox: str
    condstore: bool = False


@dataclass(frozen=True, slots=True)
class Close(Command):
    """CLOSE."""


@dataclass(frozen=True, slots=True)
class Unselect(Command):
    """UNSELECT (RFC 3691)."""


@dataclass(frozen=True, slots=True)
class Check(Command):
    """CHECK."""


@dataclass(frozen=True, slots=True)
class Idle(Command):
    """IDLE (RFC 2177)."""


class FetchAttribute(IntFlag):
    """The items of FETCH that have no arguments."""

    UID = 1
    FLAGS = 2
    INTERNALDATE = 4
    RFC822_SIZE = 8
    ENVELOPE = 16
    BODY = 32
    BODYSTRUCTURE = 64
    MODSEQ = 128


@dataclass(frozen=True, slots=True)
class BodySection:
    """``BODY[section]<partial>`` or one of the RFC822 items.

    ``label`` is how the answer names it; ``partial`` is (offset, length).
    """

    section: Section
    label: bytes
    peek: bool
    partial: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Fetch(Command):
    """FETCH and UID FETCH; with ``changed_since`` only of messages that changed after that modseq (RFC 7162 3.1.4)."""

    numbers: SequenceSet
    attributes: FetchAttribute
    sections: tuple[BodySection, ...] = ()
    uid: bool = False
    changed_since: int | None = None


@dataclass(frozen=True, slots=True)
class Search(Command):
    """SEARCH and UID SEARCH."""

    query: Query
    uid: bool = False
