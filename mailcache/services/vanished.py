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

# With the flags that it had when it was made here: whatever was copied on from it had what it has by then.
_APPEND_INSTEAD = """
    UPDATE mailcache_mutation
    SET kind = %(append)s, mailbox_id = target_id, remote_id = NULL, depends_on_id = NULL,
        state = %(pending)s, noted = '{}'
    WHERE account_id = %(account)s AND id = ANY(%(ids)s)
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
        "pending": MutationState.PENDING.value,
    }
    execute(_APPEND_INSTEAD, parameters)
