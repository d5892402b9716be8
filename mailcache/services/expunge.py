"""EXPUNGE and what CLOSE does: messages marked ``\\Deleted`` go for good (RFC 3501 6.4.3, RFC 4315 2.1)."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from mailcache.flags import SystemFlag
from mailcache.journal import LockedMailbox, lock_mailbox, write_change
from mailcache.models import MutationKind, MutationState
from mailcache.services.label_guard import check_no_label
from mailcache.services.mutation_queue import NewMutation, queue_mutations
from mailcache.services.recovered import forget_refused
from mailcache.services.rows import count_expunged, execute
from mailcache.services.selected_messages import SelectedMessage, select_messages
from mailcache.wire.number_set import NumberSet

_EVERYTHING = NumberSet([(1, 2**32 - 1)])

# A change of flags of a message that goes is nothing to replay, unless a copy was made of it afterwards, which is to
# have these flags upstream as well; what made the message appear here still has to be.
_FORGET = """
    WITH own AS (
        SELECT mutation.id, mutation.kind = %(store)s AND NOT EXISTS (
            SELECT 1 FROM mailcache_mutation AS later
            WHERE later.account_id = %(account)s AND later.kind = %(copy)s AND later.state <> %(settled)s
              AND later.id > mutation.id
              AND (later.remote_id = mutation.remote_id OR later.depends_on_id = mutation.depends_on_id)
        ) AS is_moot
        FROM mailcache_mutation AS mutation
        WHERE mutation.account_id = %(account)s AND mutation.message_id = ANY(%(messages)s)
    ), store AS (
        DELETE FROM mailcache_mutation
        WHERE account_id = %(account)s AND id IN (SELECT id FROM own WHERE is_moot)
    )
    UPDATE mailcache_mutation SET message_id = NULL
    WHERE account_id = %(account)s AND id IN (SELECT id FROM own WHERE NOT is_moot)
"""
_FORGET_NAMES = {
    "store": MutationKind.STORE.value,
    "copy": MutationKind.COPY.value,
    "settled": MutationState.SETTLED.value,
}
_DELETE = "DELETE FROM mailcache_message WHERE account_id = %(account)s AND id = ANY(%(messages)s)"


@transaction.atomic
def expunge_messages(*, user_id: int, mailbox_id: int, uids: NumberSet = _EVERYTHING) -> NumberSet:
    """Remove the messages among ``uids`` that are marked ``\\Deleted``; returns which.

    Their Remote rows stay, so that no sync takes them for new mail before the upstream has expunged them as well.
    Raises ``NoSuchMailbox``, ``LabelMailbox``.
    """
    locked = lock_mailbox(mailbox_id, user_id=user_id)
    gone = [message for message in select_messages(locked, uids) if message.flags.system & SystemFlag.DELETED]
    if not gone:
        return NumberSet()
    check_no_label([mailbox_id])
    return remove_selected(locked, gone)


def remove_selected(locked: LockedMailbox, gone: Sequence[SelectedMessage]) -> NumberSet:
    """Remove messages of a locked mailbox, and queue their removal upstream, in the caller's transaction."""
    rows = [
        NewMutation(
            None,
            message.source_remote_id,
            message.creator_id,
            # Before it goes upstream it is compared with what is known of it here.
            message.content_id,
            arguments=message.identity,
        )
        for message in gone
        if not message.is_only_here
    ]
    queue_mutations(account_id=locked.account_id, kind=MutationKind.EXPUNGE, mailbox_id=locked.id, rows=rows)
    forget_refused(locked, [message.id for message in gone])
    execute(_FORGET, {**_which(locked, gone), **_FORGET_NAMES})
    return delete_messages(locked, gone)


def delete_messages(locked: LockedMailbox, gone: Sequence[SelectedMessage]) -> NumberSet:
    """Delete messages of a locked mailbox, to which no mutation points any more, and journal it."""
    execute(_DELETE, _which(locked, gone))
    uids = NumberSet.from_numbers(message.uid for message in gone)
    counters = count_expunged([message.flags for message in gone], (message.size for message in gone))
    write_change(locked, expunged=uids, counters=counters)
    return uids


def _which(locked: LockedMailbox, messages: Sequence[SelectedMessage]) -> dict[str, object]:
    return {"account": locked.account_id, "messages": [message.id for message in messages]}
