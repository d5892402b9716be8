"""EXPUNGE and what CLOSE does: messages marked ``\\Deleted`` go for good (RFC 3501 6.4.3, RFC 4315 2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mailcache.flags import SystemFlag
from mailcache.journal import LockedMailbox
from mailcache.models import MutationKind, MutationState
from mailcache.services.label_changes import remove_labelled
from mailcache.services.label_places import Place, place_of
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.mutation_queue import NewMutation, queue_mutations
from mailcache.services.recovered import forget_refused
from mailcache.services.rows import execute
from mailcache.services.selected_messages import SelectedMessage, select_messages
from mailcache.services.transferred import delete_messages
from mailcache.wire.number_set import NumberSet

_EVERYTHING = NumberSet([(1, 2**32 - 1)])

# A change of flags of a message that goes is nothing to replay, unless it was copied afterwards: the copy has these
# flags from it. What made it appear here still has to be replayed.
_FORGET = """
    WITH forgotten AS (
        DELETE FROM mailcache_mutation AS store
        WHERE account_id = %(account)s AND message_id = ANY(%(messages)s) AND kind = %(store)s
          AND NOT EXISTS (
              SELECT 1 FROM mailcache_mutation AS copy
              WHERE copy.account_id = %(account)s AND copy.kind = %(copy)s AND copy.id > store.id
                AND copy.state <> %(settled)s
                AND (copy.remote_id = store.remote_id OR copy.depends_on_id = store.depends_on_id)
          )
        RETURNING id
    )
    UPDATE mailcache_mutation SET message_id = NULL
    WHERE account_id = %(account)s AND message_id = ANY(%(messages)s) AND NOT id IN (SELECT id FROM forgotten)
"""


def expunge_messages(*, user_id: int, mailbox_id: int, uids: NumberSet = _EVERYTHING) -> NumberSet:
    """Remove the messages among ``uids`` that are marked ``\\Deleted``; returns which.

    Their Remote rows stay, so that no sync takes them for new mail before the upstream has expunged them as well.
    Raises ``NoSuchMailbox``, and ``NoTrash`` where they go to Trash (``label_changes``) and there is none.
    """
    return with_locks([mailbox_id], partial(_expunge, mailbox_id, uids), user_id=user_id)


def _expunge(mailbox_id: int, uids: NumberSet, locks: Locks) -> NumberSet:
    locked = locks[mailbox_id]
    gone = select_messages(locked, uids, flags=SystemFlag.DELETED)
    return remove_selected(locks, locked, gone) if gone else NumberSet()


def remove_selected(locks: Locks, locked: LockedMailbox, gone: Sequence[SelectedMessage]) -> NumberSet:
    """Remove messages of a locked mailbox, and queue their removal upstream, in the caller's transaction."""
    if place_of(locked) is not Place.OWN:
        return remove_labelled(locks, locked, gone)
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
    which = {
        "account": locked.account_id,
        "messages": [message.id for message in gone],
        "store": MutationKind.STORE.value,
        "copy": MutationKind.COPY.value,
        "settled": MutationState.SETTLED.value,
    }
    execute(_FORGET, which)
    return delete_messages(locked, gone)
