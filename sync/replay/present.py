"""Which upstream messages changes are about, and whether these still are the ones that were meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailcache.mime.headers import first_values, parse_fields
from mailcache.mime.message_ids import first_message_id
from mailcache.models import Listing, Mailbox, Mutation, Remote
from mailcache.wire.number_set import NumberSet
from sync.replay.identity import Known, Told, is_same
from sync.replay.plan import Queued
from sync.replay.work import ReplayWork
from sync.upstream.values import FetchedMessage, SelectedMailbox

# Exchange replaces the Message-ID of sent mail, and keeps the one that it had (quirk 15).
_ID_FIELDS = (b"message-id", b"x-microsoft-original-message-id")
_FIELDS = b"BODY.PEEK[HEADER.FIELDS (MESSAGE-ID X-MICROSOFT-ORIGINAL-MESSAGE-ID)]"


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
    """Return the changes whose messages can be named now; those of an earlier UIDVALIDITY wait for a sync."""
    remotes = Remote.objects.filter(account_id=work.account.pk, pk__in={member.remote_id for member in members})
    rows = {pk: (uid, uidvalidity) for pk, uid, uidvalidity in remotes.values_list("pk", "uid", "uidvalidity")}
    good: list[Queued] = []
    uids: dict[int, int] = {}
    for member in members:
        uid, uidvalidity = rows.get(member.remote_id or 0, (0, 0))
        if uidvalidity == selected.uidvalidity:
            good.append(member)
            uids[member.id] = uid
    if len(good) < len(members):
        stale = [member for member in members if member.id not in uids]
        work.wait_for_sync(stale, mailbox, "the upstream has given the mailbox other UIDs: waiting for a sync")
    return Present(good, uids)


def check(work: ReplayWork, found: Present) -> Checked:
    """Compare the messages of changes that take something away with what is known of them (promise 1).

    What the upstream does not tell of is gone only if a search does not find it either.
    """
    told = told_of(work, [found.uids[member.id] for member in found.members])
    known = known_of(work, work.rows(found.members))
    missing = {uid for uid in found.uids.values() if uid not in told}
    if missing:
        missing -= set(work.upstream.client.uid_search(b"UID " + str(NumberSet.from_numbers(missing)).encode()))
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


def told_of(work: ReplayWork, uids: Sequence[int]) -> dict[int, Told]:
    """Ask the upstream by what these messages of the open mailbox can be known."""
    client = work.upstream.client
    items = [b"UID", b"RFC822.SIZE", b"INTERNALDATE", _FIELDS]
    if client.may("OBJECTID"):
        items.append(b"EMAILID")
    elif client.may("X-GM-EXT-1"):
        items.append(b"X-GM-MSGID")
    told: dict[int, Told] = {}

    def take(message: FetchedMessage) -> None:
        if message.uid is not None:
            told[message.uid] = _told(message.uid, message)

    if uids:
        client.uid_fetch(sorted(uids), b"(" + b" ".join(items) + b")", on_message=take)
    return told


def _told(uid: int, message: FetchedMessage) -> Told:
    header = b"".join(part for part in message.sections.values() if isinstance(part, bytes))
    return Told(uid, message_ids(header), message.size, message.internal_date, message.email_id or "")


def message_ids(header: bytes) -> frozenset[str]:
    """Return the Message-IDs that a header gives its message."""
    values = first_values(parse_fields(header))
    return frozenset(found for name in _ID_FIELDS if (found := first_message_id(values.get(name))) is not None)


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
