"""COPY and MOVE upstream."""

from __future__ import annotations

from collections.abc import Sequence

from mailcache.models import Mailbox, ParkedCause
from mailcache.services.settle_creators import settle_creators
from mailcache.services.settlement import note_accepted, note_sent
from mailcache.services.vanished import settle_vanished
from sync.replay.expunge import OTHER_MESSAGE
from sync.replay.lookup import resolve, settle_arrived
from sync.replay.mailboxes import is_missing, make_again, target_numbering
from sync.replay.plan import Kind, Queued, Step
from sync.replay.present import Checked, Present, check, present
from sync.replay.store import READ_ONLY
from sync.replay.told import still_there
from sync.replay.work import ReplayWork, batches
from sync.upstream.errors import CommandRefused
from sync.upstream.values import CopiedUids

_MOST = 500


def replay_transfer(work: ReplayWork, step: Step) -> None:
    """Copy or move messages to another mailbox."""
    source, target = work.mailbox(step.mailbox_id), work.mailbox(step.target_id)
    # In one command: of several that end in the middle nobody would know which were done.
    for batch in batches(step.members, min(_MOST, work.upstream.profile.largest_fetch)):
        work.pause_point()
        _transfer(work, step.kind, source, target, batch)


def _transfer(work: ReplayWork, kind: Kind, source: Mailbox, target: Mailbox, batch: Sequence[Queued]) -> None:
    uidvalidity, uidnext = target_numbering(work, target)
    selected = work.open(source)
    if kind is Kind.MOVE and selected.read_only:
        work.park(batch, READ_ONLY, ParkedCause.READ_ONLY)
        return
    found = present(work, source, selected, batch)
    checked = check(work, found) if kind is Kind.MOVE else _exists(work, found)
    work.park(checked.other, OTHER_MESSAGE, ParkedCause.OTHER_MESSAGE)
    _give_up_gone(work, checked.gone)
    if not checked.same:
        return
    ids = [member.id for member in checked.same]
    moves = kind is Kind.MOVE and work.upstream.client.may("MOVE")
    note_sent(fence=work.fence, ids=ids, noted={"uidvalidity": uidvalidity, "uidnext": uidnext})
    copied = _send(work, checked.same, found, target, moves=moves)
    if copied is not None:
        _settle(work, target, checked.same, found, copied, source_stays=kind is Kind.MOVE and not moves)


def _send(
    work: ReplayWork, members: Sequence[Queued], found: Present, target: Mailbox, *, moves: bool
) -> CopiedUids | None:
    """Send the command; None where it was refused, and the changes are dealt with."""
    client = work.upstream.client
    uids = sorted({found.uids[member.id] for member in members})
    name = bytes(target.upstream_name or b"")
    try:
        work.pace()
        return client.uid_move(uids, name) if moves else client.uid_copy(uids, name)
    except CommandRefused as error:
        if is_missing(error) and make_again(work, target):
            work.fail(members, str(error), outcome_known=True)
        else:
            # A MOVE may be refused in its middle (RFC 6851 3.3).
            work.refused(settle_arrived(work, target, members) if moves else members, error)
        return None


def _settle(
    work: ReplayWork,
    target: Mailbox,
    members: Sequence[Queued],
    found: Present,
    copied: CopiedUids,
    *,
    source_stays: bool,
) -> None:
    told = {member.id: copied.uids[uid] for member in members if (uid := found.uids[member.id]) in copied.uids}
    if told:
        settle_creators(
            fence=work.fence,
            target_id=target.pk,
            uidvalidity=copied.uidvalidity,
            uids=told,
            source_stays=source_stays,
        )
    rest = [member for member in members if member.id not in told]
    if not rest:
        return
    if not told:
        note_accepted(fence=work.fence, ids=[member.id for member in rest])
        resolve(work, target, rest)
    else:
        # It told of the others: these are gone since they were looked at.
        work.fail(rest, "the upstream did not tell where the message went")


def _exists(work: ReplayWork, found: Present) -> Checked:
    """Ask which of the messages are there: what is copied needs no closer look."""
    there = still_there(work, set(found.uids.values()))
    gone = [member for member in found.members if found.uids[member.id] not in there]
    return Checked([member for member in found.members if member not in gone], (), gone)


def _give_up_gone(work: ReplayWork, members: Sequence[Queued]) -> None:
    if members:
        settle_vanished(fence=work.fence, ids=[member.id for member in members])
