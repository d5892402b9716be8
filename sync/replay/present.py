"""Which upstream messages changes are about, and whether these still are the ones that were meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailcache.merge import Event
from mailcache.models import Listing, Mailbox, Mutation, Remote
from mailcache.services.settlement import forget_cancelled
from mailcache.services.vanished import settle_vanished
from sync.replay.identity import Known, is_same
from sync.replay.plan import Kind, Queued
from sync.replay.renumbered import relink
from sync.replay.told import message_ids, still_there, told_of
from sync.replay.work import ReplayWork, uidvalidity_of
from sync.upstream.values import SelectedMailbox


@dataclass(frozen=True, slots=True)
class Present:
    """Changes whose messages are numbered as the open mailbox is; ``uids`` by change."""

    members: Sequence[Queued]
    uids: dict[int, int]


@dataclass(frozen=True, slots=True)
class Checked:
    """Changes by what the upstream has under their UIDs: their message, another one, or none."""

    same: Sequence[Queued]
    other: Sequence[Queued]
    gone: Sequence[Queued]


def present(work: ReplayWork, mailbox: Mailbox, selected: SelectedMailbox, members: Sequence[Queued]) -> Present:
    """Return the changes whose messages can be named now; those of an earlier UIDVALIDITY wait for a sync.

    No sync compares a mailbox that was deleted here: there they are looked for at once.
    """
    uidvalidity = uidvalidity_of(selected, mailbox)
    uids = _numbered(work, uidvalidity, members)
    if len(uids) < len(members) and mailbox.deleted_at is not None:
        relink(work, mailbox, uidvalidity)
        uids = _numbered(work, uidvalidity, members)
    stale = [member for member in members if member.id not in uids]
    if stale and mailbox.deleted_at is not None:
        _give_up(work, stale)
    elif stale:
        work.wait_for_sync(stale, mailbox, "the upstream has given the mailbox other UIDs: waiting for a sync")
    return Present([member for member in members if member.id in uids], uids)


def _numbered(work: ReplayWork, uidvalidity: int, members: Sequence[Queued]) -> dict[int, int]:
    """Return the UIDs that the messages of changes have in the open mailbox, as far as they are numbered so."""
    remotes = Remote.objects.filter(account_id=work.account.pk, pk__in={member.remote_id for member in members})
    uids = dict(remotes.filter(uidvalidity=uidvalidity).values_list("pk", "uid"))
    return {member.id: uids[member.remote_id] for member in members if member.remote_id in uids}


def _give_up(work: ReplayWork, members: Sequence[Queued]) -> None:
    """Settle changes of a mailbox deleted here whose messages are not to be found under its new numbers."""
    transfers = {member.id for member in members if member.kind in (Kind.COPY, Kind.MOVE)}
    settle_vanished(fence=work.fence, ids=transfers, event=Event.UNNAMEABLE)
    forget_cancelled(fence=work.fence, ids={member.id for member in members} - transfers)


def check(work: ReplayWork, found: Present) -> Checked:
    """Compare the messages of changes that take something away with what is known of them (promise 1).

    What the upstream does not tell of is gone only if a search does not find it either.
    """
    told = told_of(work, [found.uids[member.id] for member in found.members])
    known = known_of(work, work.rows(found.members))
    missing = {uid for uid in found.uids.values() if uid not in told}
    missing -= still_there(work, missing)
    exact = work.upstream.profile.exact_sizes
    same, other, gone = list[Queued](), list[Queued](), list[Queued]()
    for member in found.members:
        uid = found.uids[member.id]
        if member.id not in known:
            continue  # an operator has dropped it
        if uid in missing:
            gone.append(member)
        elif uid in told and is_same(known[member.id], told[uid], exact_sizes=exact):
            same.append(member)
        else:
            other.append(member)
    return Checked(same, other, gone)


def known_of(work: ReplayWork, rows: dict[int, Mutation]) -> dict[int, Known]:
    """Return by what the messages of mutations can be known."""
    remotes = [row.remote_id for row in rows.values() if row.content_id is None and row.remote_id is not None]
    listings = Listing.objects.filter(account_id=work.account.pk, remote_id__in=remotes)
    headers = dict(listings.values_list("remote_id", "header"))
    return {pk: _known(row, headers.get(row.remote_id or 0)) for pk, row in rows.items()}


def _known(row: Mutation, header: bytes | memoryview | None) -> Known:
    date = row.arguments.get("internal_date")
    message_id = None
    if row.content is not None:
        message_id = row.content.message_id
    elif header is not None:
        message_id = next(iter(message_ids(bytes(header))), "")
    return Known(
        message_id=message_id,
        size=row.arguments.get("size"),
        internal_date=datetime.fromisoformat(date) if date else None,
        upstream_id=row.remote.upstream_id if row.remote is not None else "",
        sha256=bytes(row.content.sha256) if row.content is not None else None,
    )
