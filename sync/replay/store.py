"""STORE upstream: one command for all messages of a mailbox whose flags change alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mailcache.flags import ALL_SYSTEM_FLAGS, FlagDelta, FlagSet
from mailcache.models import Mailbox, ParkedCause
from mailcache.services.settlement import settle_stores
from sync.replay.plan import Queued, Step
from sync.replay.present import Present, present
from sync.replay.work import ReplayWork, batches, in_transactions
from sync.upstream.errors import CommandRefused
from sync.upstream.values import SelectedMailbox

READ_ONLY = "the upstream lets nobody change this mailbox (read-only)"
_MOST = 10_000


def replay_store(work: ReplayWork, step: Step) -> None:
    """Change flags of messages, as their changes together say."""
    mailbox = work.mailbox(step.mailbox_id)
    selected = work.open(mailbox)
    if selected.read_only:
        work.park(step.members, READ_ONLY, ParkedCause.READ_ONLY)
        return
    found = present(work, mailbox, selected, step.members)
    kept = kept_local(selected, step.delta.add)
    delta = FlagDelta(step.delta.add.without(kept), step.delta.remove)
    for batch in batches(found.members, _MOST):
        work.pause_point()
        _store(work, mailbox, found, batch, delta, kept)


def _store(
    work: ReplayWork, mailbox: Mailbox, found: Present, batch: Sequence[Queued], delta: FlagDelta, kept: FlagSet
) -> None:
    work.open(mailbox)
    uids = sorted({found.uids[member.id] for member in batch})
    try:
        for item, flags in ((b"+FLAGS.SILENT", delta.add), (b"-FLAGS.SILENT", delta.remove)):
            if flags:
                work.pace()
                work.upstream.client.uid_store(uids, item, flags.names())
    except CommandRefused as error:
        work.refused(batch, error)
        return
    for ids in in_transactions([member.id for member in batch]):
        settle_stores(fence=work.fence, ids=ids, kept_local=kept)


def kept_from_append(selected: SelectedMailbox, flags: Iterable[FlagSet]) -> FlagSet:
    """Return which of the flags of messages to be appended are kept here: those are asked about that have keywords."""
    together = FlagSet()
    for some in flags:
        together = together.merged(add=some, remove=FlagSet())
    return kept_local(selected, together) if together.keywords else FlagSet()


def kept_local(selected: SelectedMailbox, flags: FlagSet) -> FlagSet:
    """Return which of these flags the upstream stores for nobody (PERMANENTFLAGS, RFC 3501 7.1)."""
    if selected.permanentflags is None:
        return FlagSet()
    permanent = FlagSet.parse(flag for flag in selected.permanentflags if flag != "\\*")
    system = flags.system & ALL_SYSTEM_FLAGS & ~permanent.system
    keywords = frozenset() if "\\*" in selected.permanentflags else flags.without(permanent).keywords
    return FlagSet(system, keywords)
