"""Which comparison of a mailbox is the cheapest exact one, from what the upstream said and what is here. Pure.

Three tiers of upstreams: QRESYNC tells what vanished and changed; CONDSTORE tells by HIGHESTMODSEQ whether flags
changed, and which; of the others only the counters are known, and flags are polled (``flag_polling``). Exactness rests
on counting in each of them: UIDs only grow, so the same UIDNEXT and as many messages here as there means the same
messages, and whatever was taken over in a cheaper way is followed by a look at the count (field note 24).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sync.planner import CHUNK_MESSAGES
from sync.upstream.values import MailboxStatus, Resync


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """What EXAMINE or STATUS said of a mailbox."""

    uidvalidity: int
    uidnext: int | None
    highestmodseq: int | None
    exists: int


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a mailbox here. ``uidnext`` is None while no comparison of this numbering has finished."""

    uidvalidity: int | None = None
    uidnext: int | None = None
    highestmodseq: int | None = None
    older_highestmodseq: int | None = None
    held: int = 0
    """Messages here under ``uidvalidity``."""
    doubtful: bool = False
    """Numbers prove nothing about which messages are here: leftovers of another numbering, deletions held back."""
    full_wanted: bool = False


class Membership(Enum):
    """How to find out which messages are new and gone."""

    SAME = "same"
    """Not at all: the counters prove that they are the same."""
    TOLD = "told"
    """The upstream named them (QRESYNC)."""
    GROWN = "grown"
    """By fetching the few UIDs that were given since."""
    LISTED = "listed"
    """By the list of all UIDs."""


class FlagSource(Enum):
    """Where changed flags come from."""

    SAME = "same"
    """Nowhere: HIGHESTMODSEQ proves that they are the same."""
    TOLD = "told"
    """The upstream named them (QRESYNC)."""
    SINCE = "since"
    """FETCH with CHANGEDSINCE."""
    POLLED = "polled"
    """FETCH of some or all, when it is due."""
    ALL = "all"
    """FETCH of all: no number can be relied on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask. ``new`` are the UIDs that GROWN fetches; ``since`` is the modseq for SINCE."""

    membership: Membership
    flags: FlagSource
    new: range = range(0)
    since: int = 0

    @property
    def is_known(self) -> bool:
        """True where no UIDs that are here are needed: nothing happened, or the upstream told what did."""
        return self.membership is Membership.SAME and self.flags in (FlagSource.SAME, FlagSource.TOLD)


def plan(known: Known, state: UpstreamState, *, resynced: bool = False, overlap: bool = False) -> Plan:
    """Return the cheapest exact comparison.

    ``resynced`` tells that the upstream answered a ``Resync``. With ``overlap`` HIGHESTMODSEQ may move before the
    change can be seen, so each is read from twice (quirk 2).
    """
    membership = _membership(known, state, resynced=resynced)
    flags = _flag_source(known, state, resynced=resynced, overlap=overlap)
    new = range(0)
    if membership is Membership.GROWN and known.uidnext and state.uidnext:
        new = range(known.uidnext, state.uidnext)
    return Plan(membership, flags, new, _read_from(known, overlap=overlap) or 0)


def resync_point(known: Known, *, overlap: bool = False) -> Resync | None:
    """Return from where QRESYNC may tell what happened; None where everything has to be looked at."""
    since = _read_from(known, overlap=overlap)
    if known.uidvalidity is None or known.uidnext is None or not since or known.full_wanted:
        return None
    return Resync(known.uidvalidity, since)


def state_of(status: MailboxStatus) -> UpstreamState | None:
    """Return what a STATUS told, or None where it leaves out what the comparison rests on."""
    if not status.uidvalidity or status.uidnext is None or status.messages is None:
        return None
    return UpstreamState(status.uidvalidity, status.uidnext, status.highestmodseq, status.messages)


def _membership(known: Known, state: UpstreamState, *, resynced: bool) -> Membership:
    if known.uidvalidity != state.uidvalidity or known.uidnext is None or known.doubtful or known.full_wanted:
        return Membership.LISTED
    if state.uidnext is None and state.exists:
        return Membership.LISTED
    uidnext = state.uidnext or known.uidnext
    if uidnext < known.uidnext or _went_back(known, state):
        return Membership.LISTED
    if uidnext == known.uidnext and known.held == state.exists:
        return Membership.SAME
    if resynced:
        return Membership.TOLD
    if known.held < state.exists and 0 < uidnext - known.uidnext <= CHUNK_MESSAGES:
        return Membership.GROWN
    return Membership.LISTED


def _flag_source(known: Known, state: UpstreamState, *, resynced: bool, overlap: bool) -> FlagSource:
    if known.full_wanted or known.uidvalidity != state.uidvalidity:
        return FlagSource.ALL
    if not state.highestmodseq:
        return FlagSource.POLLED
    if not known.highestmodseq or _went_back(known, state):
        return FlagSource.ALL
    if state.highestmodseq == _read_from(known, overlap=overlap) == known.highestmodseq:
        return FlagSource.SAME
    return FlagSource.TOLD if resynced else FlagSource.SINCE


def _read_from(known: Known, *, overlap: bool) -> int | None:
    """Return the modseq since which changes are asked for. The first of a numbering has none before it."""
    if overlap and known.older_highestmodseq:
        return known.older_highestmodseq
    return known.highestmodseq


def _went_back(known: Known, state: UpstreamState) -> bool:
    """Tell whether HIGHESTMODSEQ fell, as it does where a backup was restored: it says nothing any more."""
    return bool(known.highestmodseq and state.highestmodseq and state.highestmodseq < known.highestmodseq)
