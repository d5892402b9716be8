"""What the upstream tells of messages by which they can be known."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mailcache.mime.headers import first_values, parse_fields
from mailcache.mime.message_ids import first_message_id
from mailcache.wire.number_set import NumberSet
from sync.replay.identity import Told
from sync.replay.work import ReplayWork
from sync.upstream.values import FetchedMessage

# Exchange replaces the Message-ID of sent mail, and keeps the one that it had (quirk 15).
_ID_FIELDS = (b"message-id", b"x-microsoft-original-message-id")
_FIELDS = b"BODY.PEEK[HEADER.FIELDS (MESSAGE-ID X-MICROSOFT-ORIGINAL-MESSAGE-ID)]"


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


def still_there(work: ReplayWork, uids: Collection[int]) -> set[int]:
    """Return which of these UIDs the open mailbox has."""
    if not uids:
        return set()
    return set(work.upstream.client.uid_search(b"UID " + str(NumberSet.from_numbers(uids)).encode("ascii")))


def _told(uid: int, message: FetchedMessage) -> Told:
    header = b"".join(part for part in message.sections.values() if isinstance(part, bytes))
    return Told(uid, message_ids(header), message.size, message.internal_date, message.email_id or "")


def message_ids(header: bytes) -> frozenset[str]:
    """Return the Message-IDs that a header gives its message."""
    values = first_values(parse_fields(header))
    return frozenset(found for name in _ID_FIELDS if (found := first_message_id(values.get(name))) is not None)
