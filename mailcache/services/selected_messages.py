"""The messages of a mailbox that a client's command names, with what replay will need of each."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from mailcache.flags import FlagSet, SystemFlag
from mailcache.journal import LockedMailbox
from mailcache.models import CREATORS, MutationKind, MutationState
from mailcache.services.rows import fetch_all
from mailcache.wire.number_set import NumberSet

_READ = """
    SELECT message.id, message.uid, message.flags, message.keywords, message.modseq, message.size,
           message.internal_date, message.internal_zone, message.content_id, message.remote_id,
           (SELECT max(CASE WHEN mutation.kind = %(label)s THEN mutation.depends_on_id ELSE mutation.id END)
            FROM mailcache_mutation AS mutation
            WHERE mutation.message_id = message.id AND mutation.kind = ANY(%(creators)s)
              AND mutation.target_id = message.mailbox_id
              AND mutation.state <> %(settled)s) AS creator_id
    FROM mailcache_message AS message
    JOIN unnest(%(first)s::bigint[], %(last)s::bigint[]) AS range (first, last)
      ON message.uid BETWEEN range.first AND range.last
    WHERE message.account_id = %(account)s AND message.mailbox_id = %(mailbox)s
      AND message.flags & %(flags)s::smallint = %(flags)s
    ORDER BY message.uid
"""
_NO_FLAG = SystemFlag(0)
# A message that got a label is made by what its label waits for.
_CREATORS = [kind.value for kind in (*CREATORS, MutationKind.LABEL)]


class SelectedMessage(NamedTuple):
    """One message. ``creator_id`` is the unsettled mutation that will tell where it lives upstream, if there is one."""

    id: int
    uid: int
    flags: FlagSet
    modseq: int
    size: int
    internal_date: datetime
    internal_zone: int
    content_id: int | None
    remote_id: int | None
    creator_id: int | None

    @property
    def source_remote_id(self) -> int | None:
        """The upstream message that a mutation of this one acts on; None where ``creator_id`` has to tell."""
        return self.remote_id if self.creator_id is None else None

    @property
    def is_only_here(self) -> bool:
        """True for a message that the upstream neither has nor is to get: it refused it, or nobody asks it any more."""
        return self.remote_id is None and self.creator_id is None

    @property
    def identity(self) -> dict[str, object]:
        """By what the message can be told from others, when its row is gone."""
        date = self.internal_date.astimezone(timezone(timedelta(minutes=self.internal_zone)))
        return identity_of(self.size, date)


def identity_of(size: int, internal_date: datetime) -> dict[str, object]:
    """Return what a mutation notes of its message, as its arguments."""
    return {"size": size, "internal_date": internal_date.isoformat()}


def select_messages(locked: LockedMailbox, uids: NumberSet, *, flags: SystemFlag = _NO_FLAG) -> list[SelectedMessage]:
    """Return the messages with these UIDs, ascending; UIDs that do not exist are left out (RFC 3501 6.4.8).

    With ``flags``, only those that have all of these.
    """
    parameters = {
        "account": locked.account_id,
        "mailbox": locked.id,
        "first": [first for first, _ in uids.ranges],
        "last": [last for _, last in uids.ranges],
        "flags": int(flags),
        "creators": _CREATORS,
        "label": MutationKind.LABEL.value,
        "settled": MutationState.SETTLED.value,
    }
    return [
        SelectedMessage(message_id, uid, FlagSet.of(flags, keywords), *rest)
        for message_id, uid, flags, keywords, *rest in fetch_all(_READ, parameters)
    ]
