"""Message flags as values: a bit mask of system flags and a set of keywords (RFC 3501 2.3.2). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, IntFlag

# What an atom may not hold (RFC 3501 9, ``atom-specials``), plus what would break a line.
_ATOM_SPECIALS = frozenset('(){ %*"\\]\x7f' + "".join(map(chr, range(0x20))))

MAX_KEYWORD_LENGTH = 255
MAX_KEYWORDS = 100


class SystemFlag(IntFlag):
    """The system flags that are stored. ``\\Recent`` belongs to sessions and is never stored."""

    SEEN = 1
    ANSWERED = 2
    FLAGGED = 4
    DELETED = 8
    DRAFT = 16


NO_FLAGS = SystemFlag(0)
ALL_SYSTEM_FLAGS = SystemFlag(31)

# In the order in which they are rendered.
SYSTEM_FLAG_NAMES: dict[SystemFlag, str] = {
    SystemFlag.ANSWERED: "\\Answered",
    SystemFlag.FLAGGED: "\\Flagged",
    SystemFlag.DELETED: "\\Deleted",
    SystemFlag.SEEN: "\\Seen",
    SystemFlag.DRAFT: "\\Draft",
}
_BY_LOWER_NAME = {name.lower(): flag for flag, name in SYSTEM_FLAG_NAMES.items()}


def is_keyword(token: str) -> bool:
    """True for a token that may be sent on as a keyword: an ASCII atom of bounded length."""
    return 0 < len(token) <= MAX_KEYWORD_LENGTH and token.isascii() and _ATOM_SPECIALS.isdisjoint(token)


@dataclass(frozen=True, slots=True)
class FlagSet:
    """The flags of one message. Keywords keep their spelling; compare them without regard to case."""

    system: SystemFlag = NO_FLAGS
    keywords: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, tokens: Iterable[str]) -> FlagSet:
        """Read flags as a server sent them, tolerantly.

        ``\\Recent``, unknown system flags and tokens that no client could be sent (an upstream was seen to list
        ``\\\\Seen``) are left out rather than failing the mailbox (field note 37).
        """
        system = NO_FLAGS
        keywords: dict[str, str] = {}
        for token in tokens:
            flag = _BY_LOWER_NAME.get(token.lower())
            if flag is not None:
                system |= flag
            elif is_keyword(token) and len(keywords) < MAX_KEYWORDS:
                keywords.setdefault(token.lower(), token)
        return cls(system, frozenset(keywords.values()))

    @classmethod
    def of(cls, system: int, keywords: Iterable[str] = ()) -> FlagSet:
        """Build from stored columns."""
        return cls(SystemFlag(system), frozenset(keywords))

    def names(self) -> tuple[str, ...]:
        """Return all flags as names, system flags first, keywords sorted."""
        system = [name for flag, name in SYSTEM_FLAG_NAMES.items() if flag & self.system]
        return (*system, *sorted(self.keywords))

    def render(self) -> bytes:
        """Return the flags as they stand between the parentheses of ``FLAGS (...)``."""
        return " ".join(self.names()).encode("ascii")

    def merged(self, *, add: FlagSet, remove: FlagSet) -> FlagSet:
        """Return these flags with a delta applied; keywords match without regard to case."""
        gone = {keyword.lower() for keyword in remove.keywords}
        kept = {keyword.lower(): keyword for keyword in self.keywords if keyword.lower() not in gone}
        for keyword in add.keywords:
            kept.setdefault(keyword.lower(), keyword)
        return FlagSet((self.system & ~remove.system) | add.system, frozenset(kept.values()))

    def without(self, others: FlagSet) -> FlagSet:
        """Return the flags that are here and not in ``others``; keywords match without regard to case."""
        known = {keyword.lower() for keyword in others.keywords}
        kept = frozenset(keyword for keyword in self.keywords if keyword.lower() not in known)
        return FlagSet(self.system & ~others.system, kept)

    def unmarked(self) -> FlagSet:
        """Return the flags without ``\\Deleted``."""
        return FlagSet(self.system & ~SystemFlag.DELETED, self.keywords)

    def marked_like(self, other: FlagSet) -> FlagSet:
        """Return the flags with ``\\Deleted`` exactly where ``other`` has it."""
        return FlagSet(self.unmarked().system | (other.system & SystemFlag.DELETED), self.keywords)

    def __bool__(self) -> bool:
        return bool(self.system or self.keywords)


@dataclass(frozen=True, slots=True)
class FlagDelta:
    """A change of flags that commutes with other people's changes of other flags."""

    add: FlagSet = FlagSet()
    remove: FlagSet = FlagSet()

    def apply(self, flags: FlagSet) -> FlagSet:
        """Return ``flags`` with this delta applied."""
        return flags.merged(add=self.add, remove=self.remove)

    def then(self, later: FlagDelta) -> FlagDelta:
        """Return one delta that equals this one followed by ``later``."""
        return FlagDelta(
            add=self.add.merged(add=later.add, remove=later.remove),
            remove=self.remove.merged(add=later.remove, remove=later.add),
        )

    def unmarked(self) -> FlagDelta:
        """Return the delta without what it does to ``\\Deleted``."""
        return FlagDelta(self.add.unmarked(), self.remove.unmarked())

    def __bool__(self) -> bool:
        return bool(self.add or self.remove)


class StoreMode(Enum):
    """The three forms of STORE (RFC 3501 6.4.6)."""

    ADD = "+FLAGS"
    REMOVE = "-FLAGS"
    REPLACE = "FLAGS"


@dataclass(frozen=True, slots=True)
class FlagStore:
    """What a client asks for: some flags added, taken away, or put in the place of all."""

    mode: StoreMode
    flags: FlagSet

    def delta(self, before: FlagSet) -> FlagDelta:
        """Return what this changes in a message that has the flags ``before``; a replacement becomes a delta too."""
        if self.mode is StoreMode.ADD:
            return FlagDelta(add=self.flags)
        if self.mode is StoreMode.REMOVE:
            return FlagDelta(remove=self.flags)
        return FlagDelta(add=self.flags.without(before), remove=before.without(self.flags))

    def after(self, before: FlagSet) -> FlagSet:
        """Return the flags that a message with the flags ``before`` has afterwards."""
        return self.delta(before).apply(before)
