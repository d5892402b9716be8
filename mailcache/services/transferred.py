"""What COPY, MOVE and EXPUNGE are made of: rows that appear and go, and what is queued about them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Protocol

from mailcache.flags import ALL_SYSTEM_FLAGS, FlagDelta, FlagSet, SystemFlag
from mailcache.journal import LockedMailbox, lock_mailboxes, write_change
from mailcache.models import MutationKind
from mailcache.services.mutation_queue import NewMutation, queue_mutations
from mailcache.services.rows import count_appeared, count_expunged, execute, fetch_all
from mailcache.services.selected_messages import SelectedMessage
from mailcache.wire.number_set import NumberSet

# A message whose bytes are not here yet goes on pointing at where they are; one that is the same upstream shares that.
_COPY = """
    WITH input AS (
        SELECT * FROM unnest(%(sources)s::bigint[], %(uids)s::bigint[]) AS row (source_id, uid)
    ), copied AS (
        INSERT INTO mailcache_message (account_id, mailbox_id, uid, flags, keywords, modseq, internal_date,
                                       internal_zone, size, emailid, threadid, content_id, remote_id)
        SELECT %(account)s, %(target)s, input.uid, source.flags & %(flags)s, source.keywords, %(modseq)s,
               source.internal_date, source.internal_zone, source.size, source.emailid, source.threadid,
               source.content_id, CASE WHEN %(shares)s OR source.content_id IS NULL THEN source.remote_id END
        FROM input JOIN mailcache_message AS source ON source.id = input.source_id
        RETURNING id, uid
    )
    SELECT id FROM copied ORDER BY uid
"""
# What was queued about the message goes on being true of it where it is now; what made it appear is another's affair.
_CARRY = """
    UPDATE mailcache_mutation AS mutation
    SET message_id = CASE WHEN mutation.kind = %(store)s THEN input.new_id END
    FROM unnest(%(old)s::bigint[], %(new)s::bigint[]) AS input (old_id, new_id)
    WHERE mutation.account_id = %(account)s AND mutation.message_id = input.old_id
"""
_DELETE = "DELETE FROM mailcache_message WHERE account_id = %(account)s AND id = ANY(%(messages)s)"

# Also what has settled and has yet to be seen upstream.
_LET_GO = """
    UPDATE mailcache_mutation SET message_id = NULL WHERE account_id = %(account)s AND message_id = ANY(%(ids)s)
"""
_HOMES = """
    SELECT DISTINCT message.mailbox_id
    FROM mailcache_mutation AS mutation JOIN mailcache_message AS message ON message.id = mutation.message_id
    WHERE mutation.account_id = %(account)s AND mutation.id = ANY(%(ids)s)
"""
_OF_MAILBOXES = """
    SELECT mailbox_id, id, uid, flags, size FROM mailcache_message
    WHERE account_id = %(account)s AND id = ANY(%(ids)s) ORDER BY mailbox_id, uid
"""


class Shown(Protocol):
    """What has to be known of a message that goes from its mailbox."""

    @property
    def id(self) -> int:
        """Its row."""

    @property
    def uid(self) -> int:
        """Ours."""

    @property
    def flags(self) -> FlagSet:
        """What clients saw last."""

    @property
    def size(self) -> int:
        """In octets."""


@dataclass(frozen=True, slots=True)
class TransferResult:
    """Which messages went where: ``source_uids``, ascending, and ``target_uids`` correspond (COPYUID, RFC 4315)."""

    uidvalidity: int
    source_uids: Sequence[int] = ()
    target_uids: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Copies:
    """Messages that have appeared in a mailbox, in the order of those that they were made from."""

    ids: Sequence[int] = ()
    uids: Sequence[int] = ()


def add_copies(
    target: LockedMailbox, messages: Sequence[SelectedMessage], *, shares: bool = False, marked: bool = True
) -> Copies:
    """Make messages appear in a locked mailbox. ``shares``: as the same upstream; ``marked``: also as ``\\Deleted``."""
    if not messages:
        return Copies()
    uids = list(range(target.uidnext, target.uidnext + len(messages)))
    parameters = {
        "account": target.account_id,
        "target": target.id,
        "modseq": target.modseq,
        "sources": [message.id for message in messages],
        "uids": uids,
        "shares": shares,
        "flags": int(ALL_SYSTEM_FLAGS if marked else ALL_SYSTEM_FLAGS & ~SystemFlag.DELETED),
    }
    ids = [new_id for (new_id,) in fetch_all(_COPY, parameters)]
    flags = [message.flags if marked else message.flags.unmarked() for message in messages]
    write_change(
        target,
        appeared=NumberSet.from_numbers(uids),
        uidnext=uids[-1] + 1,
        counters=count_appeared(flags, (message.size for message in messages)),
    )
    return Copies(ids, uids)


def delete_messages(locked: LockedMailbox, gone: Sequence[Shown]) -> NumberSet:
    """Delete messages of a locked mailbox, to which no mutation points any more, and journal it."""
    execute(_DELETE, {"account": locked.account_id, "messages": [message.id for message in gone]})
    uids = NumberSet.from_numbers(message.uid for message in gone)
    counters = count_expunged([message.flags for message in gone], (message.size for message in gone))
    write_change(locked, expunged=uids, counters=counters)
    return uids


class _Row(NamedTuple):
    id: int
    uid: int
    flags: FlagSet
    size: int


def lock_homes(account_id: int, mutation_ids: Collection[int]) -> None:
    """Lock the mailboxes of the messages that mutations are about, as clients do before they queue anything."""
    rows = fetch_all(_HOMES, {"account": account_id, "ids": list(mutation_ids)}) if mutation_ids else []
    lock_mailboxes([mailbox_id for (mailbox_id,) in rows])


def remove_messages_here(account_id: int, message_ids: Collection[int]) -> None:
    """Take messages away in the caller's transaction."""
    if not message_ids:
        return
    which = {"account": account_id, "ids": list(message_ids)}
    found = fetch_all(_OF_MAILBOXES, which)
    locked = lock_mailboxes({row[0] for row in found})
    execute(_LET_GO, which)
    for mailbox_id, rows in groupby(found, key=lambda row: int(row[0])):
        gone = [_Row(row_id, uid, FlagSet.of(flags), size) for _, row_id, uid, flags, size in rows]
        delete_messages(locked[mailbox_id], gone)


def carry_mutations(account_id: int, pairs: Sequence[tuple[int, int | None]]) -> None:
    """Let what is queued about messages be about others, as pairs of both."""
    parameters = {
        "account": account_id,
        "store": MutationKind.STORE.value,
        "old": [old for old, _ in pairs],
        "new": [new for _, new in pairs],
    }
    execute(_CARRY, parameters)


def queue_transfers(
    kind: MutationKind,
    *,
    account_id: int,
    source_id: int,
    target_id: int,
    pairs: Sequence[tuple[int, SelectedMessage]],
    marked: bool = True,
) -> list[int]:
    """Queue what makes new messages appear upstream, by pairs of these and what they were made from.

    One that is only here goes there from here. ``marked``: also as ``\\Deleted``. Returns the mutations, in the order
    of the messages.
    """
    transfers: list[NewMutation] = []
    appends: list[NewMutation] = []
    for new_id, message in pairs:
        mutation = NewMutation(
            new_id,
            message.source_remote_id,
            message.creator_id,
            message.content_id,
            delta=FlagDelta(add=message.flags if marked else message.flags.unmarked()),
            arguments=message.identity,
        )
        (appends if message.is_only_here else transfers).append(mutation)
    transferred = iter(
        queue_mutations(account_id=account_id, kind=kind, mailbox_id=source_id, target_id=target_id, rows=transfers)
    )
    appended = iter(
        queue_mutations(
            account_id=account_id, kind=MutationKind.APPEND, mailbox_id=target_id, target_id=target_id, rows=appends
        )
    )
    return [next(appended if message.is_only_here else transferred) for _, message in pairs]
