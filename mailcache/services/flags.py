"""STORE: a client's change of flags (also the \\Seen that reading sets)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from mailcache.flags import FlagSet, FlagStore
from mailcache.journal import LockedMailbox
from mailcache.models import MutationKind
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.message_flags import FlagChange, change_flags
from mailcache.services.mutation_queue import NewMutation, queue_mutations
from mailcache.services.rows import fetch_all
from mailcache.services.selected_messages import SelectedMessage, select_messages
from mailcache.wire.number_set import NumberSet

_TWINS = """
    SELECT message.id, message.mailbox_id, message.uid, message.flags, message.keywords, message.remote_id,
           message.mailbox_id = remote.mailbox_id
    FROM mailcache_message AS message JOIN mailcache_remote AS remote ON remote.id = message.remote_id
    WHERE message.account_id = %(account)s AND message.remote_id = ANY(%(remotes)s)
      AND message.mailbox_id <> %(mailbox)s
"""
_NOTHING = NumberSet()


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What a change of flags did.

    ``modseq`` is None when nothing changed; ``changed`` has the new flags by UID; ``modified`` names the messages that
    UNCHANGEDSINCE kept from being changed (RFC 7162 3.1.3).
    """

    modseq: int | None = None
    changed: Mapping[int, FlagSet] = field(default_factory=dict)
    modified: NumberSet = _NOTHING


class _Twin(NamedTuple):
    message_id: int
    mailbox_id: int
    uid: int
    flags: FlagSet
    remote_id: int
    is_origin: bool


def store_flags(
    *, user_id: int, mailbox_id: int, uids: NumberSet, store: FlagStore, unchanged_since: int | None = None
) -> StoreResult:
    """Change flags of messages of a user's mailbox and queue the change for replay, in one transaction.

    Other mailboxes that show the same messages change in the same transaction. UIDs that do not exist are ignored
    (RFC 3501 6.4.8); messages that have the flags already do not change. Raises ``NoSuchMailbox``.
    """
    return with_locks([mailbox_id], partial(_store, mailbox_id, uids, store, unchanged_since), user_id=user_id)


def _store(
    mailbox_id: int, uids: NumberSet, store: FlagStore, unchanged_since: int | None, locks: Locks
) -> StoreResult:
    locked = locks[mailbox_id]
    messages = select_messages(locked, uids)
    kept_back = [one.uid for one in messages if unchanged_since is not None and one.modseq > unchanged_since]
    modified = NumberSet.from_numbers(kept_back)
    changing = [one for one in messages if one.uid not in modified and store.after(one.flags) != one.flags]
    if not changing:
        return StoreResult(modified=modified)
    twins = _read_twins(locked, changing)
    locks.require({twin.mailbox_id for twin in twins})
    changes = [FlagChange(one.id, mailbox_id, one.uid, one.flags, store.after(one.flags)) for one in changing]
    changes += [
        FlagChange(twin.message_id, twin.mailbox_id, twin.uid, twin.flags, store.after(twin.flags)) for twin in twins
    ]
    change_flags(locks, changes)
    _queue(locked, changing, {twin.remote_id: twin for twin in twins if twin.is_origin}, store)
    return StoreResult(locked.modseq, {one.uid: store.after(one.flags) for one in changing}, modified)


def _read_twins(locked: LockedMailbox, messages: Sequence[SelectedMessage]) -> list[_Twin]:
    """Return the messages of other mailboxes that are the same as these."""
    if not locked.shares_messages:
        return []
    remotes = [one.remote_id for one in messages if one.remote_id is not None]
    parameters = {"account": locked.account_id, "mailbox": locked.id, "remotes": remotes}
    return [
        _Twin(message_id, mailbox_id, uid, FlagSet.of(flags, keywords), remote_id, is_origin)
        for message_id, mailbox_id, uid, flags, keywords, remote_id, is_origin in fetch_all(_TWINS, parameters)
    ]


def _queue(
    locked: LockedMailbox, messages: Sequence[SelectedMessage], origins: Mapping[int | None, _Twin], store: FlagStore
) -> None:
    """Queue the change once for each message that was named.

    Of several that are the same it is the one in the mailbox where the upstream has it, because that one stays
    whatever becomes of the labels.
    """
    by_mailbox: dict[int, list[NewMutation]] = {}
    for one in messages:
        if one.is_only_here:
            continue
        origin = origins.get(one.remote_id)
        message_id, mailbox_id = (origin.message_id, origin.mailbox_id) if origin else (one.id, locked.id)
        row = NewMutation(message_id, one.source_remote_id, one.creator_id, delta=store.delta(one.flags))
        by_mailbox.setdefault(mailbox_id, []).append(row)
    for mailbox_id, rows in by_mailbox.items():
        queue_mutations(account_id=locked.account_id, kind=MutationKind.STORE, mailbox_id=mailbox_id, rows=rows)
