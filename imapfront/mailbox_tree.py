"""Which names LIST and LSUB show, with which attributes (RFC 3501 6.3.8-9, RFC 5258). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

_DELIMITER = "/"

_ROLE_ATTRIBUTES = {
    "all": "\\All",
    "archive": "\\Archive",
    "drafts": "\\Drafts",
    "flagged": "\\Flagged",
    "junk": "\\Junk",
    "sent": "\\Sent",
    "trash": "\\Trash",
}


class Mailbox(Protocol):
    """What is asked of a mailbox here."""

    @property
    def name(self) -> str:
        """The name that the session sees."""

    @property
    def selectable(self) -> bool:
        """False for a name that holds no messages."""

    @property
    def subscribed(self) -> bool:
        """True for a name that LSUB shows."""

    @property
    def role(self) -> str:
        """The special use, or nothing."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One line of LIST: ``mailbox`` is None for a level that exists only as the parent of others."""

    name: str
    attributes: tuple[str, ...]
    mailbox: Mailbox | None
    subscribed_below: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Which names are wanted, and what is told of them."""

    subscribed_only: bool = False
    special_use_only: bool = False
    recursive_match: bool = False
    return_subscribed: bool = False


def list_names(mailboxes: Sequence[Mailbox], reference: str, patterns: Iterable[str], wanted: Selection) -> list[Shown]:
    """Return the lines of LIST, INBOX first."""
    by_name = {mailbox.name: mailbox for mailbox in mailboxes}
    parents = _parents(by_name)
    subscribed_parents = _parents(name for name, mailbox in by_name.items() if mailbox.subscribed)
    matchers = [Pattern(reference + pattern) for pattern in patterns]
    found: list[Shown] = []
    for name in sorted({*by_name, *parents}, key=lambda name: (name != "INBOX", name.lower(), name)):
        if not any(matcher.matches(name) for matcher in matchers):
            continue
        mailbox = by_name.get(name)
        below = wanted.recursive_match and name in subscribed_parents
        if _is_wanted(mailbox, wanted) or below:
            attributes = tuple(_attributes(mailbox, has_children=name in parents, wanted=wanted))
            found.append(Shown(name, attributes, mailbox, subscribed_below=below))
    return found


def lsub_names(mailboxes: Sequence[Mailbox], reference: str, pattern: str) -> list[Shown]:
    """Return the lines of LSUB: with ``%`` the parents of subscribed names too (RFC 3501 6.3.9)."""
    by_name = {mailbox.name: mailbox for mailbox in mailboxes if mailbox.subscribed}
    parents = _parents(by_name) if pattern.endswith("%") else set()
    matcher = Pattern(reference + pattern)
    return [
        Shown(name, () if name in by_name else ("\\Noselect",), by_name.get(name))
        for name in sorted({*by_name, *parents}, key=lambda name: (name != "INBOX", name.lower(), name))
        if matcher.matches(name)
    ]


class Pattern:
    """A LIST pattern: ``*`` stands for anything, ``%`` for anything within a level; INBOX in any case."""

    def __init__(self, pattern: str) -> None:
        first, slash, rest = pattern.partition(_DELIMITER)
        self._pattern = ("INBOX" if first.isascii() and first.upper() == "INBOX" else first) + slash + rest

    def matches(self, name: str) -> bool:
        """True when the whole name matches. Takes time proportional to both lengths, whatever the pattern."""
        reachable = {0}
        for character in name:
            reachable = self._step(self._closed(reachable), character)
            if not reachable:
                return False
        return len(self._pattern) in self._closed(reachable)

    def _closed(self, positions: set[int]) -> set[int]:
        """Add the positions behind wildcards, which may stand for nothing."""
        closed = set(positions)
        for position in positions:
            at = position
            while at < len(self._pattern) and self._pattern[at] in "*%":
                at += 1
                closed.add(at)
        return closed

    def _step(self, positions: set[int], character: str) -> set[int]:
        after: set[int] = set()
        for position in positions:
            if position == len(self._pattern):
                continue
            expected = self._pattern[position]
            if expected == "*" or (expected == "%" and character != _DELIMITER):
                after.add(position)
            elif expected == character and expected not in "*%":
                after.add(position + 1)
        return after


def _parents(names: Iterable[str]) -> set[str]:
    parents: set[str] = set()
    for name in names:
        end = name.rfind(_DELIMITER)
        while end > 0 and name[:end] not in parents:
            parents.add(name[:end])
            end = name.rfind(_DELIMITER, 0, end)
    return parents


def _is_wanted(mailbox: Mailbox | None, wanted: Selection) -> bool:
    if wanted.subscribed_only and not (mailbox is not None and mailbox.subscribed):
        return False
    return not wanted.special_use_only or (mailbox is not None and mailbox.role in _ROLE_ATTRIBUTES)


def _attributes(mailbox: Mailbox | None, *, has_children: bool, wanted: Selection) -> Iterator[str]:
    if mailbox is None:
        # Old clients know only the second; RFC 5258 3 lets the first imply it.
        yield from ("\\NonExistent", "\\Noselect")
    elif not mailbox.selectable:
        yield "\\Noselect"
    yield "\\HasChildren" if has_children else "\\HasNoChildren"
    if mailbox is not None:
        if wanted.return_subscribed and mailbox.subscribed:
            yield "\\Subscribed"
        if mailbox.role in _ROLE_ATTRIBUTES:
            yield _ROLE_ATTRIBUTES[mailbox.role]
