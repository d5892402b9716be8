"""STORE: a client's change of flags (also the \\Seen that reading sets)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

from mailcache.flags import FlagSet, FlagStore
from mailcache.journal import LockedMailbox
from mailcache.models import MutationKind
from mailcache.services.label_places import is_mark_local
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.message_flags import FlagChange, change_flags
from mailcache.services.mutation_queue import NewMutation, queue_mutations
from mailcache.services.selected_messages import SelectedMessage, select_messages
from mailcache.services.twins import Twin, read_twins
from mailcache.wire.number_set import NumberSet

_NOTHING = NumberSet()


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What a change of flags did.

    ``modseq`` is None when nothing changed; ``changed`` has the new flags by UID, ``before`` the modseq that each of
    them had until then; ``modified`` names the messages that UNCHANGEDSINCE kept from being changed (RFC 7162 3.1.3).
    """

    modseq: int | None = None
    changed: Mapping[int, FlagSet] = field(default_factory=dict)
    modified: NumberSet = _NOTHING
    before: Mapping[int, int] = field(default_factory=dict)


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
    changes = [FlagChange(one.id, mailbox_id, one.uid, one.flags, store.after(one.flags)) for one in changing]
    twins = read_twins(locked, changing)
    for twin in chain.from_iterable(twins.values()):
        after = store.after(twin.flags).marked_like(twin.flags)
        if after != twin.flags:
            changes.append(FlagChange(twin.id, twin.mailbox_id, twin.uid, twin.flags, after))
    locks.require({change.mailbox_id for change in changes})
    change_flags(locks, changes)
    origins = {key: twin for key, group in twins.items() for twin in group if twin.is_origin}
    _queue(locked, changing, origins, store)
    return StoreResult(
        locked.modseq,
        {one.uid: store.after(one.flags) for one in changing},
        modified,
        before={one.uid: one.modseq for one in changing},
    )


def _queue(
    locked: LockedMailbox, messages: Sequence[SelectedMessage], origins: Mapping[int, Twin], store: FlagStore
) -> None:
    """Queue the change once for each message that was named.

    Of several that are the same it is the one in the mailbox where the upstream has it, because that one stays
    whatever becomes of the labels. ``\\Deleted`` is not queued where it is a mark of ours (``label_places``).
    """
    is_unmarked = is_mark_local(locked)
    by_mailbox: dict[int, list[NewMutation]] = {}
    for one in messages:
        if one.is_only_here:
            continue
        delta = store.delta(one.flags).unmarked() if is_unmarked else store.delta(one.flags)
        if not delta:
            continue
        origin = origins.get(one.id)
        message_id, mailbox_id = (origin.id, origin.mailbox_id) if origin else (one.id, locked.id)
        row = NewMutation(message_id, one.source_remote_id, one.creator_id, delta=delta)
        by_mailbox.setdefault(mailbox_id, []).append(row)
    for mailbox_id, rows in by_mailbox.items():
        queue_mutations(account_id=locked.account_id, kind=MutationKind.STORE, mailbox_id=mailbox_id, rows=rows)
