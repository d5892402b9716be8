"""Which mailboxes were renamed upstream, as far as LIST tells. Pure.

MAILBOXID (RFC 8474) tells for sure. UIDVALIDITY alone makes a suspicion, which a sample of messages confirms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from mailcache.names import INBOX

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Here(NamedTuple):
    """A mailbox as we know it; ``upstream_name`` as in the last LIST that named it."""

    mailbox_id: int
    name: str
    upstream_name: bytes
    object_id: str
    uidvalidity: int | None


class There(NamedTuple):
    """A mailbox as the present LIST tells it; empty or None where it does not tell."""

    upstream_name: bytes
    object_id: str
    uidvalidity: int | None


def by_object_id(here: Sequence[Here], there: Sequence[There]) -> dict[int, bytes]:
    """Return the upstream's new name of each mailbox that has another one now, by our id. INBOX cannot be renamed."""
    known = _unique((mailbox.object_id, mailbox) for mailbox in here)
    listed = _unique((mailbox.object_id, mailbox) for mailbox in there)
    return {
        mailbox.mailbox_id: listed[object_id].upstream_name
        for object_id, mailbox in known.items()
        if object_id in listed and listed[object_id].upstream_name != mailbox.upstream_name and mailbox.name != INBOX
    }


def unexplained(
    here: Sequence[Here], there: Sequence[There], renamed: Mapping[int, bytes]
) -> tuple[list[Here], list[There]]:
    """Return the mailboxes that are missing in LIST, and those that are new in it, beyond the renames known."""
    known = {mailbox.upstream_name for mailbox in here} | set(renamed.values())
    listed = {mailbox.upstream_name for mailbox in there}
    missing = [
        mailbox
        for mailbox in here
        if mailbox.upstream_name not in listed and mailbox.mailbox_id not in renamed and mailbox.name != INBOX
    ]
    return missing, [mailbox for mailbox in there if mailbox.upstream_name not in known]


def suspects(missing: Sequence[Here], new: Sequence[There]) -> list[tuple[Here, There]]:
    """Pair what is missing and what is new by a UIDVALIDITY that only one has on either side."""
    gone = _unique((mailbox.uidvalidity, mailbox) for mailbox in missing)
    found = _unique((mailbox.uidvalidity, mailbox) for mailbox in new)
    return [(gone[uidvalidity], found[uidvalidity]) for uidvalidity in gone if uidvalidity in found]


def exchanged(here: Sequence[Here], there: Sequence[There], renamed: Mapping[int, bytes]) -> list[tuple[Here, There]]:
    """Pair mailboxes with the names that others of ours had, by their UIDVALIDITY: a swap through a third name, say."""
    known = _unique((mailbox.uidvalidity, mailbox) for mailbox in here)
    listed = _unique((mailbox.uidvalidity, mailbox) for mailbox in there)
    inbox = {mailbox.upstream_name for mailbox in here if mailbox.name == INBOX}
    pairs = [(mailbox, listed[uidvalidity]) for uidvalidity, mailbox in known.items() if uidvalidity in listed]
    suspected = [
        (gone, found)
        for gone, found in pairs
        if found.upstream_name != gone.upstream_name
        and not inbox & {gone.upstream_name, found.upstream_name}
        and gone.mailbox_id not in renamed
        and not (gone.object_id and found.object_id)
    ]
    return without_owners_left(suspected, here, renamed)


def without_owners_left(
    pairs: Sequence[tuple[Here, There]], here: Sequence[Here], renamed: Mapping[int, bytes]
) -> list[tuple[Here, There]]:
    """Leave out those whose new name is that of a mailbox which gets no other: it was deleted, and this one put there.

    What was restored so goes on under the name that clients know.
    """
    owners = {mailbox.upstream_name: mailbox.mailbox_id for mailbox in here}
    left = list(pairs)
    while True:
        moving = {gone.mailbox_id for gone, _ in left} | set(renamed)
        kept = [(gone, found) for gone, found in left if owners.get(found.upstream_name, gone.mailbox_id) in moving]
        if len(kept) == len(left):
            return kept
        left = kept


def _unique(pairs: Iterable[tuple[_Key, _Value]]) -> dict[_Key, _Value]:
    told = [pair for pair in pairs if pair[0]]
    counts = Counter(key for key, _ in told)
    return {key: value for key, value in told if counts[key] == 1}
