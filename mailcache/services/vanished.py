"""COPY and MOVE whose source is gone upstream before they could be replayed.

A copy whose bytes are here is appended instead: somebody wanted to keep it. A move gives way: whoever deleted or moved
the message there has decided. Out of a mailbox that was deleted here a move is as good as a copy.
"""

from __future__ import annotations

from collections.abc import Collection

from django.db import transaction

from mailcache.models import Mutation, MutationKind, MutationState
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.services.mutation_control import remove_messages_here, undo_mutations
from mailcache.services.rows import execute

_APPEND_INSTEAD = """
    UPDATE mailcache_mutation AS mutation
    SET kind = %(append)s, mailbox_id = mutation.target_id, remote_id = NULL, depends_on_id = NULL,
        state = %(pending)s, noted = '{}',
        add_flags = coalesce(message.flags, 0), add_keywords = coalesce(message.keywords, '{}')
    FROM mailcache_mutation AS self LEFT JOIN mailcache_message AS message ON message.id = self.message_id
    WHERE self.id = mutation.id AND mutation.account_id = %(account)s AND mutation.id = ANY(%(ids)s)
      AND mutation.kind = %(copy)s AND mutation.content_id IS NOT NULL
"""


@transaction.atomic
def settle_vanished(*, fence: Fence, ids: Collection[int], keeps_moved: bool = False) -> None:
    """Give up COPY and MOVE mutations whose message is gone upstream; ``keeps_moved``: or cannot be named any more."""
    leases.check(fence)
    account_id = fence.account_id
    if keeps_moved:
        unsettled = Mutation.objects.unsettled(account_id).filter(pk__in=ids, kind=MutationKind.MOVE)
        unsettled.update(kind=MutationKind.COPY)
    names = {
        "account": account_id,
        "append": MutationKind.APPEND.value,
        "copy": MutationKind.COPY.value,
        "pending": MutationState.PENDING.value,
    }
    rows = Mutation.objects.filter(account_id=account_id, pk__in=ids).exclude(state=MutationState.SETTLED)
    doomed = list(rows.filter(kind=MutationKind.MOVE).values_list("pk", flat=True))
    doomed += rows.filter(kind=MutationKind.COPY, content=None).values_list("pk", flat=True)
    # What was copied from a copy that never came to be is gone with it, unless its bytes are here.
    frontier = list(doomed)
    while frontier:
        later = Mutation.objects.filter(account_id=account_id, depends_on__in=frontier).values_list("pk", flat=True)
        execute(_APPEND_INSTEAD, {**names, "ids": list(later)})
        frontier = list(Mutation.objects.filter(depends_on__in=frontier).values_list("pk", flat=True))
        doomed += frontier
    execute(_APPEND_INSTEAD, {**names, "ids": [number for number in ids if number not in set(doomed)]})
    messages = Mutation.objects.filter(pk__in=doomed, message__isnull=False).exclude(kind=MutationKind.STORE)
    remove_messages_here(account_id, list(messages.values_list("message_id", flat=True)))
    undo_mutations(account_id, doomed)
