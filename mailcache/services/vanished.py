"""COPY, MOVE and changes of labels whose message is gone upstream before replay: appended instead, or given up."""

from __future__ import annotations

from collections.abc import Collection

from django.db import transaction

from mailcache.merge import Change, Event, Outcome, outcome
from mailcache.models import LABEL_KINDS, Mutation, MutationKind, MutationState
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.services.mutation_control import undo_mutations
from mailcache.services.rows import execute
from mailcache.services.transferred import lock_homes, remove_messages_here

# With the flags that clients see in it, or in what they made of it before they took it away. What they changed in
# either is yet to be replayed, and may be in these flags already.
_APPEND_INSTEAD = """
    UPDATE mailcache_mutation AS mutation
    SET kind = %(append)s, mailbox_id = mutation.target_id, remote_id = NULL, depends_on_id = NULL,
        state = %(pending)s, noted = '{}',
        add_flags = coalesce(message.flags, later.flags, source.flags, 0),
        add_keywords = coalesce(message.keywords, later.keywords, source.keywords, '{}')
    FROM mailcache_mutation AS self
    LEFT JOIN mailcache_message AS message ON message.id = self.message_id
    LEFT JOIN mailcache_remote AS source ON source.id = self.remote_id
    LEFT JOIN LATERAL (
        SELECT onwards.flags, onwards.keywords
        FROM mailcache_mutation AS transfer JOIN mailcache_message AS onwards ON onwards.id = transfer.message_id
        WHERE transfer.account_id = %(account)s AND transfer.depends_on_id = self.id
          AND transfer.kind = ANY(%(transfers)s)
        ORDER BY transfer.id LIMIT 1
    ) AS later ON true
    WHERE self.id = mutation.id AND mutation.account_id = %(account)s AND mutation.id = ANY(%(ids)s)
"""


@transaction.atomic
def settle_vanished(*, fence: Fence, ids: Collection[int], event: Event = Event.GONE) -> None:
    """Deal with mutations whose message is not to be had upstream any more as the merge rules say.

    They are COPY, MOVE and changes of labels; a label is given up with its message.
    """
    leases.check(fence)
    account_id = fence.account_id
    appended, doomed = _fates(account_id, ids, event)
    lock_homes(account_id, [*appended, *doomed])
    _append_instead(account_id, appended)
    messages = Mutation.objects.filter(pk__in=doomed, message__isnull=False).exclude(kind=MutationKind.STORE)
    remove_messages_here(account_id, list(messages.values_list("message_id", flat=True)))
    undo_mutations(account_id, doomed)


def _fates(account_id: int, ids: Collection[int], event: Event) -> tuple[list[int], list[int]]:
    """Return what is appended instead, and what is given up; what was to be done to the latter's messages is as well.

    What was copied from a copy that never came to be is gone with it, unless its bytes are here.
    """
    appended: list[int] = []
    doomed: list[int] = []
    rows = Mutation.objects.unsettled(account_id).filter(pk__in=ids)
    while found := list(rows.values_list("pk", "kind", "content_id")):
        fates = {pk: _fate(MutationKind(kind), event, has_bytes=content is not None) for pk, kind, content in found}
        kept = [pk for pk, fate in fates.items() if fate is Outcome.APPENDED]
        given_up = [pk for pk in fates if pk not in kept]
        appended += kept
        doomed += given_up
        rows, event = Mutation.objects.unsettled(account_id).filter(depends_on__in=given_up), Event.GONE
    return appended, doomed


def _fate(kind: MutationKind, event: Event, *, has_bytes: bool) -> Outcome:
    if kind in LABEL_KINDS:
        return Outcome.GIVEN_UP
    return outcome(Change(kind.value), event, has_bytes=has_bytes)


def _append_instead(account_id: int, ids: Collection[int]) -> None:
    parameters = {
        "account": account_id,
        "ids": list(ids),
        "append": MutationKind.APPEND.value,
        "transfers": [MutationKind.COPY.value, MutationKind.MOVE.value],
        "pending": MutationState.PENDING.value,
    }
    execute(_APPEND_INSTEAD, parameters)
