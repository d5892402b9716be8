"""Accounts whose mailboxes are labels: which mailbox shows which label, what to ask, what to fetch first. Pure.

All Mail, Spam and Trash hold the messages; every other mailbox shows those of All Mail that have its label in
X-GM-LABELS (field notes, section 2, rows 1-7).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from sync.mailbox_roles import role_of_attributes
from sync.upstream.values import ListedMailbox

X_GM_EXT_1 = "X-GM-EXT-1"
INBOX_LABEL = "\\Inbox"
HIDDEN_NOTICE = (
    "the upstream hides it from IMAP, so mailboxes are mirrored one by one and archived mail is not kept in step;"
    ' switch on "Show in IMAP" for it in the settings of labels'
)
CAPPED_NOTICE = (
    "it has a number of messages to which IMAP folders can be limited; if they are, older mail is not mirrored, and"
    ' what is here stays as it is: choose "Do not limit the number of messages in an IMAP folder" in the settings'
)

# The sizes to which Gmail's settings limit every mailbox (quirk 7).
_CAPS = frozenset({1_000, 2_000, 5_000, 10_000})
# Of the newest messages of a renamed label.
_SAME_SHARE = 0.8
# As X-GM-LABELS spells them; other spellings have been seen in what clients write.
_SYSTEM_LABELS = {
    "inbox": INBOX_LABEL,
    "sent": "\\Sent",
    "draft": "\\Draft",
    "drafts": "\\Draft",
    "starred": "\\Starred",
    "flagged": "\\Starred",
    "important": "\\Important",
}
_LABEL_OF_ROLE = {"sent": "\\Sent", "drafts": "\\Draft", "flagged": "\\Starred"}
_SOURCES = frozenset({"all", "junk", "trash"})
_FIRST_ROLES = ("inbox", "sent", "drafts")

SEARCH_EVERYTHING_BELOW = 500_000
"""Gmail does not finish a search of more than a million messages (quirk 8)."""


class LabelMailbox(NamedTuple):
    """A mailbox of ours as far as the order of fetching goes."""

    mailbox_id: int
    role: str
    label: str


def is_all_mail(entry: ListedMailbox) -> bool:
    """Tell whether LIST says that this mailbox holds all mail, whatever it is called (quirk 7)."""
    return _is_selectable(entry) and role_of_attributes(entry.attributes) == "all"


def labels_of_mailboxes(listed: Sequence[ListedMailbox]) -> dict[bytes, str] | None:
    """Return the label that each mailbox shows, by upstream name; None where All Mail is hidden."""
    if not any(map(is_all_mail, listed)):
        return None
    found = {entry.name_raw: _label_of(entry) for entry in listed if _is_selectable(entry)}
    return {name: label for name, label in found.items() if label}


def canonical_labels(told: Iterable[str]) -> tuple[str, ...]:
    """Return labels of X-GM-LABELS, system labels in one spelling, each once."""
    return tuple(dict.fromkeys(_canonical(label) for label in told))


def mailboxes_to_fetch_first(mailboxes: Collection[LabelMailbox]) -> list[int]:
    """Return the label mailboxes whose messages' bytes are fetched from All Mail before those of others, in order."""
    found = [
        (_FIRST_ROLES.index(row.role), row.mailbox_id) for row in mailboxes if row.label and row.role in _FIRST_ROLES
    ]
    return [mailbox_id for _, mailbox_id in sorted(found)]


def searches(exists: int, uidnext: int | None) -> Iterator[bytes]:
    """Return the criteria that together find every UID of a mailbox; of a large one each names a range of UIDs."""
    if exists <= SEARCH_EVERYTHING_BELOW or uidnext is None:
        yield b"ALL"
        return
    for first in range(1, uidnext, SEARCH_EVERYTHING_BELOW):
        yield b"UID %d:%d" % (first, min(first + SEARCH_EVERYTHING_BELOW, uidnext) - 1)


def is_capped(exists: int) -> bool:
    """Tell whether a mailbox has as many messages as one that shows only the newest of them."""
    return exists in _CAPS


def without_hidden(gone: list[int], there: Iterable[int], exists: int) -> list[int]:
    """Return which of the UIDs that are no longer listed are gone, from a mailbox that may show only its newest.

    What lies below all that are listed has merely made room.
    """
    if not is_capped(exists):
        return gone
    lowest = min(there, default=0)
    return [uid for uid in gone if uid > lowest]


def may_be_renamed(*, here: int, there: int, sampled: int, shared: int) -> bool:
    """Tell whether a mailbox that is missing and one that is new show the same messages.

    ``here`` and ``there`` are how many they show, ``shared`` how many of those ``sampled`` there are here.
    """
    return sampled > 0 and shared >= sampled * _SAME_SHARE and here <= 2 * there and there <= 2 * here


def _label_of(entry: ListedMailbox) -> str:
    if entry.name.upper() == "INBOX":
        return INBOX_LABEL
    role = role_of_attributes(entry.attributes)
    if role in _SOURCES:
        return ""
    if any(attribute.lower() == "\\important" for attribute in entry.attributes):
        return "\\Important"
    return _LABEL_OF_ROLE.get(role or "", entry.name)


def _canonical(label: str) -> str:
    # No label of a column or a statement may hold a line end.
    label = " ".join(label.replace("\x00", "").splitlines())
    if not label.startswith("\\"):
        return label
    return _SYSTEM_LABELS.get(label[1:].lower(), label)


def _is_selectable(entry: ListedMailbox) -> bool:
    return not entry.attributes & {"\\Noselect", "\\NonExistent"}
