"""The mail of one fake Gmail account: one object per message, and mailboxes that are ways to look at them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum


class Place(Enum):
    """Where a message is; labels are shown as mailboxes only for messages in ``ALL``."""

    ALL = "all"
    SPAM = "spam"
    TRASH = "trash"


@dataclass(frozen=True)
class Shown:
    """What FETCH tells of a message: flags and labels as of one modseq."""

    flags: frozenset[str]
    labels: frozenset[str]
    modseq: int


@dataclass
class Mail:
    """One message: shared by every mailbox that shows it, with one set of flags."""

    msgid: int
    thrid: int
    data: bytes
    date: datetime
    flags: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    place: Place = Place.ALL
    told: Shown = Shown(frozenset(), frozenset(), 0)
    """What FETCH tells; behind the truth while HIGHESTMODSEQ runs ahead."""


@dataclass
class Folder:
    """A mailbox as IMAP shows it: messages of a place, or messages of ``Place.ALL`` with a label."""

    name: str
    uidvalidity: int
    attributes: tuple[str, ...] = ()
    label: str | None = None
    place: Place | None = None
    uids: dict[int, int] = field(default_factory=dict)
    """UID by message, in ascending order of UIDs."""
    uidnext: int = 1
    highestmodseq: int = 1

    @property
    def selectable(self) -> bool:
        """False for the parent of the system mailboxes."""
        return self.label is not None or self.place is not None

    def shows(self, mail: Mail) -> bool:
        """Tell whether a message belongs here."""
        if self.place is not None:
            return mail.place is self.place
        return mail.place is Place.ALL and self.label is not None and self.label in mail.labels


@dataclass(frozen=True)
class SystemNames:
    """How Gmail calls its own mailboxes in one language."""

    parent: str = "[Gmail]"
    all: str = "All Mail"
    drafts: str = "Drafts"
    important: str = "Important"
    sent: str = "Sent Mail"
    spam: str = "Spam"
    starred: str = "Starred"
    trash: str = "Trash"


ENGLISH = SystemNames()
GERMAN = SystemNames(
    "[Google Mail]", "Alle Nachrichten", "Entwürfe", "Wichtig", "Gesendet", "Spam", "Markiert", "Papierkorb"
)
DATE = datetime(2024, 5, 17, 8, 30, tzinfo=UTC)


def system_folders(names: SystemNames) -> list[Folder]:
    """Return the mailboxes that every account has, in the order in which LIST names them."""
    kinds: list[tuple[str, str, str | None, Place | None]] = [
        (names.all, "\\All", None, Place.ALL),
        (names.drafts, "\\Drafts", "\\Draft", None),
        (names.important, "\\Important", "\\Important", None),
        (names.sent, "\\Sent", "\\Sent", None),
        (names.spam, "\\Junk", None, Place.SPAM),
        (names.starred, "\\Flagged", "\\Starred", None),
        (names.trash, "\\Trash", None, Place.TRASH),
    ]
    folders = [Folder("INBOX", 1, label="\\Inbox"), Folder(names.parent, 2, ("\\Noselect",))]
    for number, (name, attribute, label, place) in enumerate(kinds, 3):
        folders.append(Folder(f"{names.parent}/{name}", number, (attribute,), label, place))
    return folders


class Refusal(Exception):
    """A command's NO or BAD, as it follows the tag."""
