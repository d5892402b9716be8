"""STORE: a client's change of flags (also the \\Seen that reading sets)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db import transaction

from mailcache.flags import FlagChange, FlagSet
from mailcache.journal import lock_mailbox, write_change
from mailcache.models import MutationKind
from mailcache.services.message_flags import write_message_flags
from mailcache.services.mutation_queue import NewMutation, queue_mutations
from mailcache.services.rows import count_changed
from mailcache.services.selected_messages import select_messages
from mailcache.wire.number_set import NumberSet

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


@transaction.atomic
def store_flags(
    *, user_id: int, mailbox_id: int, uids: NumberSet, change: FlagChange, unchanged_since: int | None = None
) -> StoreResult:
    """Change flags of messages of a user's mailbox and queue the change for replay, in one transaction.

    UIDs that do not exist are ignored (RFC 3501 6.4.8); messages that have the flags already do not change. Raises
    ``NoSuchMailbox``.
    """
    locked = lock_mailbox(mailbox_id, user_id=user_id)
    changes: dict[int, tuple[FlagSet, FlagSet]] = {}
    written: dict[int, FlagSet] = {}
    queued: list[NewMutation] = []
    modified: list[int] = []
    for message in select_messages(locked, uids):
        if unchanged_since is not None and message.modseq > unchanged_since:
            modified.append(message.uid)
            continue
        delta = change.delta(message.flags)
        after = delta.apply(message.flags)
        if after != message.flags:
            changes[message.uid] = (message.flags, after)
            written[message.id] = after
            if message.is_only_here:
                continue
            queued.append(NewMutation(message.id, message.source_remote_id, message.creator_id, delta=delta))
    refused = NumberSet.from_numbers(modified)
    if not changes:
        return StoreResult(modified=refused)
    write_message_flags(account_id=locked.account_id, modseq=locked.modseq, flags=written)
    queue_mutations(account_id=locked.account_id, kind=MutationKind.STORE, mailbox_id=locked.id, rows=queued)
    modseq = write_change(locked, changed=NumberSet.from_numbers(changes), counters=count_changed(changes.values()))
    return StoreResult(modseq, {uid: after for uid, (_, after) in changes.items()}, refused)
