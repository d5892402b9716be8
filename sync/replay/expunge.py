"""EXPUNGE upstream: exactly the messages that were meant, never what somebody else marked."""

from __future__ import annotations

from collections.abc import Sequence

from mailcache.flags import FlagSet
from mailcache.models import ParkedCause
from mailcache.services.settlement import settle_expunges
from sync.replay.plan import Queued, Step
from sync.replay.present import Present, check, present
from sync.replay.store import READ_ONLY, kept_local
from sync.replay.told import still_there
from sync.replay.work import ReplayWork, batches
from sync.upstream.errors import CommandRefused
from sync.upstream.values import SelectedMailbox

OTHER_MESSAGE = "the upstream has another message under this UID: nothing was removed"
_OTHERS_MARKED = (
    "the upstream cannot expunge single messages (UIDPLUS), and others are marked as deleted in this mailbox"
)
_NOT_ALLOWED = "the upstream does not let messages be deleted in this mailbox"
_MOST = 500
_DELETED = ("\\Deleted",)


def replay_expunge(work: ReplayWork, step: Step) -> None:
    """Remove messages whose identity was checked."""
    mailbox = work.mailbox(step.mailbox_id)
    for batch in batches(step.members, _MOST):
        work.pause_point()
        selected = work.open(mailbox)
        if selected.read_only:
            work.park(batch, READ_ONLY, ParkedCause.READ_ONLY)
            continue
        found = present(work, mailbox, selected, batch)
        checked = check(work, found)
        work.park(checked.other, OTHER_MESSAGE, ParkedCause.OTHER_MESSAGE)
        if checked.gone:
            settle_expunges(fence=work.fence, ids=[member.id for member in checked.gone])
        if checked.same and _expunge(work, checked.same, sorted({found.uids[member.id] for member in checked.same})):
            _settle(work, selected, found, checked.same)


def _settle(work: ReplayWork, selected: SelectedMailbox, found: Present, members: Sequence[Queued]) -> None:
    left: set[int] = set()
    if kept_local(selected, FlagSet.parse(_DELETED)):
        # Where marking is not allowed, many servers say OK to it and to EXPUNGE, and do nothing (RFC 4314 4).
        left = still_there(work, {found.uids[member.id] for member in members})
    work.park([member for member in members if found.uids[member.id] in left], _NOT_ALLOWED, ParkedCause.READ_ONLY)
    settle_expunges(fence=work.fence, ids=[member.id for member in members if found.uids[member.id] not in left])


def _expunge(work: ReplayWork, members: Sequence[Queued], uids: list[int]) -> bool:
    """Send the commands; False where they were refused, and the changes are dealt with."""
    client = work.upstream.client
    try:
        if not client.may("UIDPLUS") and not set(client.uid_search(b"DELETED")) <= set(uids):
            work.fail(members, _OTHERS_MARKED)
            return False
        work.pace()
        client.uid_store(uids, b"+FLAGS.SILENT", _DELETED)
        if client.may("UIDPLUS"):
            client.uid_expunge(uids)
        elif client.uid_search(b"DELETED") == uids:
            client.expunge()
        else:
            work.fail(members, _OTHERS_MARKED)
            return False
    except CommandRefused as error:
        work.refused(members, error)
        return False
    return True
