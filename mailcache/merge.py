"""The merge rules: what becomes of a change that a client made here when the upstream changed the same thing. Pure.

What both sides last agreed on is the Remote of a message, and the upstream's name of a mailbox. A change made here that
replay has not settled yet meets what the upstream did since then; ``RULES`` says how each of these meetings ends. The
principles behind it:

- No mail is lost: what one side deletes and the other side copied, moved or put there is kept.
- Changes of different things both stand; of changes of one and the same flag or name the one made here stands.
- Whoever deleted or moved a message upstream has decided where it is; a client here that did something to it where it
  was before takes no part in that, and nobody undoes it.
- Nothing is done to a message or mailbox that cannot be told to be the one that was meant.

The services ask this module, for one change or, where a statement works on many rows, for the kinds that it concerns;
``tests/mailcache/test_merge.py`` and ``tests/sync/replay/test_merge.py`` have every row happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from mailcache.flags import FlagDelta, FlagSet


class Change(Enum):
    """What a client did here; by the names that the queue has for it."""

    STORE = "store"
    EXPUNGE = "expunge"
    COPY = "copy"
    MOVE = "move"
    APPEND = "append"
    CREATE = "create"
    RENAME = "rename"
    DELETE = "delete"


class Event(Enum):
    """What happened upstream meanwhile."""

    FLAGS = "flags of the message were changed"
    GONE = "the message is gone from its mailbox"
    MOVED = "the message is gone from its mailbox, and known again by its bytes in another place"
    SOURCE_DELETED = "the mailbox that it is in was deleted"
    TARGET_DELETED = "the mailbox that it goes to was deleted"
    RENUMBERED = "its mailbox was renumbered (UIDVALIDITY), and the message is known again there"
    UNNAMEABLE = "its mailbox was renumbered and deleted here, and the message is not known again there"
    SENT_RENUMBERED = "the mailbox that it was sent to was renumbered before its outcome was known"
    MAILBOX_CREATED = "a mailbox of that name was created"
    MAILBOX_RENAMED = "the mailbox was renamed"
    MAILBOX_DELETED = "the mailbox was deleted"
    MAIL_ARRIVED = "mail came into the mailbox that nobody here has seen"
    MAILBOX_RENUMBERED = "the mailbox was renumbered: it may be another one of that name"


class Outcome(Enum):
    """What becomes of the change made here."""

    GOES_ON = "it is replayed as it is"
    FOLLOWS = "it is replayed where the message is now"
    APPENDED = "what it makes is appended from the bytes that are here"
    RECREATED = "it is replayed after the mailbox was created again"
    LOOKED_UP = "what arrived is found by identity among all messages that are new there"
    DONE = "both sides want the same: nothing is left to do"
    GIVEN_UP = "the upstream's change stands"
    PARKED = "an operator decides"


@dataclass(frozen=True, slots=True)
class Rule:
    """How one meeting ends: with the bytes of the message here, and without them where that differs."""

    outcome: Outcome
    without_bytes: Outcome | None = None


_KEPT_BY_BYTES = Rule(Outcome.APPENDED, without_bytes=Outcome.GIVEN_UP)

RULES: Mapping[tuple[Change, Event], Rule] = {
    # A change of flags: flag by flag, see ``merged_flags``.
    (Change.STORE, Event.FLAGS): Rule(Outcome.GOES_ON),
    (Change.STORE, Event.GONE): Rule(Outcome.GIVEN_UP),
    (Change.STORE, Event.MOVED): Rule(Outcome.FOLLOWS, without_bytes=Outcome.GIVEN_UP),
    (Change.STORE, Event.SOURCE_DELETED): Rule(Outcome.GIVEN_UP),
    (Change.STORE, Event.RENUMBERED): Rule(Outcome.GOES_ON),
    # A message that was deleted here.
    (Change.EXPUNGE, Event.FLAGS): Rule(Outcome.GOES_ON),
    (Change.EXPUNGE, Event.GONE): Rule(Outcome.DONE),
    (Change.EXPUNGE, Event.MOVED): Rule(Outcome.GIVEN_UP),
    (Change.EXPUNGE, Event.SOURCE_DELETED): Rule(Outcome.DONE),
    (Change.EXPUNGE, Event.RENUMBERED): Rule(Outcome.GOES_ON),
    # A copy was meant to be kept, whatever becomes of the original.
    (Change.COPY, Event.FLAGS): Rule(Outcome.GOES_ON),
    (Change.COPY, Event.GONE): _KEPT_BY_BYTES,
    (Change.COPY, Event.MOVED): _KEPT_BY_BYTES,
    (Change.COPY, Event.SOURCE_DELETED): _KEPT_BY_BYTES,
    (Change.COPY, Event.TARGET_DELETED): Rule(Outcome.RECREATED),
    (Change.COPY, Event.RENUMBERED): Rule(Outcome.GOES_ON),
    (Change.COPY, Event.UNNAMEABLE): _KEPT_BY_BYTES,
    # A move: one message, which cannot be in two places. Out of a mailbox that is deleted it is a rescue.
    (Change.MOVE, Event.FLAGS): Rule(Outcome.GOES_ON),
    (Change.MOVE, Event.GONE): Rule(Outcome.GIVEN_UP),
    (Change.MOVE, Event.MOVED): Rule(Outcome.GIVEN_UP),
    (Change.MOVE, Event.SOURCE_DELETED): _KEPT_BY_BYTES,
    (Change.MOVE, Event.TARGET_DELETED): Rule(Outcome.RECREATED),
    (Change.MOVE, Event.RENUMBERED): Rule(Outcome.GOES_ON),
    (Change.MOVE, Event.UNNAMEABLE): _KEPT_BY_BYTES,
    # A new message.
    (Change.APPEND, Event.TARGET_DELETED): Rule(Outcome.RECREATED),
    (Change.APPEND, Event.SENT_RENUMBERED): Rule(Outcome.LOOKED_UP),
    # Names of mailboxes.
    (Change.CREATE, Event.MAILBOX_CREATED): Rule(Outcome.DONE),
    (Change.RENAME, Event.MAILBOX_RENAMED): Rule(Outcome.GOES_ON),
    (Change.RENAME, Event.MAILBOX_DELETED): Rule(Outcome.GIVEN_UP),
    (Change.DELETE, Event.MAILBOX_RENAMED): Rule(Outcome.GIVEN_UP),
    (Change.DELETE, Event.MAILBOX_DELETED): Rule(Outcome.DONE),
    (Change.DELETE, Event.MAIL_ARRIVED): Rule(Outcome.PARKED),
    (Change.DELETE, Event.MAILBOX_RENUMBERED): Rule(Outcome.PARKED),
}
"""Meetings that are not named here concern different things: both changes stand."""

_ENDED = frozenset({Outcome.DONE, Outcome.GIVEN_UP})


def outcome(change: Change, event: Event, *, has_bytes: bool = True) -> Outcome:
    """Return what becomes of a change made here; ``has_bytes``: the bytes of its message are here."""
    rule = RULES[change, event]
    return rule.outcome if has_bytes or rule.without_bytes is None else rule.without_bytes


def ended_by(event: Event, *, among: frozenset[Change]) -> frozenset[Change]:
    """Return which of these changes need not be replayed any more after an event, bytes or not."""
    return frozenset(
        change for change in among if {outcome(change, event), outcome(change, event, has_bytes=False)} <= _ENDED
    )


def rescued_by(event: Event) -> frozenset[Change]:
    """Return the changes whose message is appended instead after an event, where its bytes are here."""
    return frozenset(change for change, met in RULES if met is event and outcome(change, event) is Outcome.APPENDED)


def merged_flags(upstream: FlagSet, pending: FlagDelta) -> FlagSet:
    """Return the flags of a message of which clients here have changed some: these as they have them.

    All others are as the upstream has them now. What was agreed is in neither: a change that both sides made is one.
    """
    return pending.apply(upstream)


def merged_name(here: str, upstream: str, *, renamed_here: bool, is_taken: bool) -> str:
    """Return the name of a mailbox that was renamed upstream: the one given here stands, and goes upstream in turn."""
    return here if renamed_here or is_taken else upstream
