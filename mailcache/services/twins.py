"""Twins: the messages of several mailboxes that are one upstream, because mailboxes are labels there.

They share a Remote, or the mutation that will make one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from mailcache.flags import FlagSet
from mailcache.journal import CounterDelta, LockedMailbox, write_change
from mailcache.models import MailboxRole, MutationKind, MutationState
from mailcache.services.mailbox_locks import Locks
from mailcache.services.message_flags import write_message_flags
from mailcache.services.rows import count_changed, count_expunged, execute, fetch_all
from mailcache.services.selected_messages import SelectedMessage
from mailcache.wire.number_set import NumberSet

# A message that only points at where its bytes can be had until it is upstream itself is none.
_BY_REMOTE = """
    SELECT remote.id, mailbox.id = origin.id,
           message.id, message.mailbox_id, message.uid, message.flags, message.keywords, message.size
    FROM mailcache_remote AS remote
    JOIN mailcache_mailbox AS origin ON origin.id = remote.mailbox_id
    JOIN mailcache_message AS message ON message.remote_id = remote.id AND message.account_id = remote.account_id
    JOIN mailcache_mailbox AS mailbox ON mailbox.id = message.mailbox_id
    WHERE remote.account_id = %(account)s AND remote.id = ANY(%(remotes)s)
      AND (mailbox.id = origin.id OR (mailbox.label <> '' AND origin.role = %(all)s))
      AND message.mailbox_id IS DISTINCT FROM %(mailbox)s
    ORDER BY remote.id, message.uid
"""
_BY_CREATOR = """
    SELECT input.id, mutation.id = input.id,
           message.id, message.mailbox_id, message.uid, message.flags, message.keywords, message.size
    FROM unnest(%(creators)s::bigint[]) AS input (id)
    JOIN mailcache_mutation AS mutation
      ON mutation.id = input.id OR (mutation.depends_on_id = input.id AND mutation.kind = %(label)s)
    JOIN mailcache_message AS message ON message.id = mutation.message_id
    WHERE mutation.account_id = %(account)s AND mutation.state <> %(settled)s AND message.mailbox_id <> %(mailbox)s
"""
_HEIR = """
    UPDATE mailcache_mutation AS mutation SET message_id = input.winner
    FROM unnest(%(losers)s::bigint[], %(winners)s::bigint[]) AS input (loser, winner)
    WHERE mutation.account_id = %(account)s AND mutation.message_id = input.loser
"""
_DELETE = "DELETE FROM mailcache_message WHERE account_id = %(account)s AND id = ANY(%(losers)s)"


class Twin(NamedTuple):
    """One message that is the same as another one."""

    id: int
    mailbox_id: int
    uid: int
    flags: FlagSet
    size: int
    is_origin: bool
    """It is in the mailbox where the upstream has it."""


def read_twins(locked: LockedMailbox, messages: Sequence[SelectedMessage]) -> dict[int, list[Twin]]:
    """Return, by message (row id) of a mailbox, those of other mailboxes that are the same."""
    if not locked.shares_messages:
        return {}
    parameters = {
        "account": locked.account_id,
        "mailbox": locked.id,
        "remotes": [one.source_remote_id for one in messages if one.source_remote_id is not None],
        "creators": [one.creator_id for one in messages if one.creator_id is not None],
        "all": MailboxRole.ALL.value,
        "label": MutationKind.LABEL.value,
        "settled": MutationState.SETTLED.value,
    }
    found: dict[tuple[bool, int], list[Twin]] = {}
    for is_made, statement in ((False, _BY_REMOTE), (True, _BY_CREATOR)):
        for key, is_origin, *row in fetch_all(statement, parameters):
            found.setdefault((is_made, key), []).append(_twin(row, is_origin=is_origin))
    keys = {one.id: (one.creator_id is not None, one.creator_id or one.remote_id or 0) for one in messages}
    return {message_id: found[key] for message_id, key in keys.items() if key in found}


def _twin(row: Sequence[Any], *, is_origin: bool) -> Twin:
    message_id, mailbox_id, uid, flags, keywords, size = row
    return Twin(message_id, mailbox_id, uid, FlagSet.of(flags, keywords), size, is_origin)


def join_twins(locks: Locks, remote_ids: Collection[int]) -> None:
    """Make one message of what turned out to be one: the same flags everywhere, and once in each mailbox.

    The one in All Mail tells the flags; of two in a mailbox the one stays that clients knew first. ``\\Deleted`` is
    each mailbox's own.
    """
    account_id = next(iter(locks)).account_id
    parameters = {"account": account_id, "remotes": list(remote_ids), "mailbox": None, "all": MailboxRole.ALL.value}
    groups: dict[int, list[Twin]] = {}
    for remote_id, is_origin, *row in fetch_all(_BY_REMOTE, parameters):
        groups.setdefault(remote_id, []).append(_twin(row, is_origin=is_origin))
    changed: dict[int, list[tuple[Twin, FlagSet]]] = {}
    losers: dict[int, list[tuple[Twin, Twin]]] = {}
    for twins in groups.values():
        origin = next((twin for twin in twins if twin.is_origin), None)
        first: dict[int, Twin] = {}
        for twin in twins:
            winner = first.setdefault(twin.mailbox_id, twin)
            after = twin.flags if origin is None else origin.flags.marked_like(twin.flags)
            if winner is not twin:
                losers.setdefault(twin.mailbox_id, []).append((twin, winner))
            elif after != twin.flags:
                changed.setdefault(twin.mailbox_id, []).append((twin, after))
    locks.require(changed.keys() | losers.keys())
    for mailbox_id in changed.keys() | losers.keys():
        _write(locks[mailbox_id], changed.get(mailbox_id, ()), losers.get(mailbox_id, ()))


def _write(locked: LockedMailbox, changed: Sequence[tuple[Twin, FlagSet]], losers: Sequence[tuple[Twin, Twin]]) -> None:
    flags = {twin.id: after for twin, after in changed}
    if flags:
        write_message_flags(account_id=locked.account_id, modseq=locked.modseq, flags=flags)
    gone = [loser for loser, _ in losers]
    parameters = {
        "account": locked.account_id,
        "losers": [loser.id for loser in gone],
        "winners": [winner.id for _, winner in losers],
    }
    for statement in (_HEIR, _DELETE) if gone else ():
        execute(statement, parameters)
    counters: CounterDelta = count_expunged([loser.flags for loser in gone], [loser.size for loser in gone])
    write_change(
        locked,
        changed=NumberSet.from_numbers(twin.uid for twin, _ in changed),
        expunged=NumberSet.from_numbers(loser.uid for loser in gone),
        counters=counters + count_changed((twin.flags, after) for twin, after in changed),
    )
