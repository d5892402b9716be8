"""Where mailboxes stand: the upstream's namespaces (RFC 2342) and the names that their mailboxes have here. Pure.

The prefix of the personal namespace is left out, so that Courier's or an old Cyrus' ``INBOX.Sent`` is ``Sent``
(quirk 35). Mailboxes of other users and shared ones keep their upstream names, so that nobody takes them for their own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from mailcache.names import INBOX, our_name
from sync.upstream.values import ListedMailbox, Namespace, Namespaces


class Place(NamedTuple):
    """Our name of a mailbox, and whether it is in the user's own namespace."""

    name: str
    personal: bool


def places_of(
    listed: Iterable[ListedMailbox], namespaces: Namespaces, *, taken: Collection[str] = ()
) -> dict[bytes, Place]:
    """Return our names by the upstream's. A name that would be ``taken`` without its prefix keeps it."""
    used = set(taken)
    places = {}
    for entry in listed:
        place = _place(entry, namespaces)
        if place.name in used:
            place = place._replace(name=our_name(entry.name, entry.delimiter or ""))
        used.add(place.name)
        places[entry.name_raw] = place
    return places


def _place(entry: ListedMailbox, namespaces: Namespaces) -> Place:
    delimiter = entry.delimiter or ""
    full = our_name(entry.name, delimiter)
    found = _namespace_of(entry, namespaces)
    if full == INBOX or found is None:
        return Place(full, personal=True)
    if found not in namespaces.personal:
        return Place(full, personal=False)
    short = our_name(entry.name[len(found.prefix) :], delimiter)
    return Place(full if short == INBOX else short, personal=True)


def _namespace_of(entry: ListedMailbox, namespaces: Namespaces) -> Namespace | None:
    """Return the namespace with the longest prefix that the name begins with; None for one without a prefix."""
    everywhere = (*namespaces.personal, *namespaces.other_users, *namespaces.shared)
    matching = [space for space in everywhere if _begins_with(entry.name, space)]
    return max(matching, key=lambda space: len(space.prefix), default=None)


def _begins_with(name: str, space: Namespace) -> bool:
    # The root itself ("user", "shared") stands without the delimiter that ends the prefix.
    if name + (space.delimiter or "") == space.prefix:
        return True
    beginning = name[: len(space.prefix)]
    is_same = beginning == space.prefix or (
        space.prefix.upper().startswith(INBOX) and beginning.upper() == space.prefix.upper()
    )
    return bool(space.prefix) and is_same and len(name) > len(space.prefix)
