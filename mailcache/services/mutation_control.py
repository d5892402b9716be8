"""What operators do to the queue: retry what was parked, or drop it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from mailcache.models import (
    LABEL_KINDS,
    TRANSFERS,
    MailboxRole,
    Mutation,
    MutationKind,
    MutationState,
    ParkedCause,
    Remote,
)
from mailcache.services.label_places import mailbox_with_role
from mailcache.services.labels import show_messages
from mailcache.services.mailbox_locks import with_locks
from mailcache.services.recovered import restore_recovered
from mailcache.services.rows import fetch_all
from mailcache.services.transferred import lock_homes, remove_messages_here
from mailcache.services.undo_names import undo_names
from mailcache.signals import announce_mutations

_DEPENDENTS = """
    WITH RECURSIVE dropped AS (
        SELECT id FROM mailcache_mutation
        WHERE account_id = %(account)s AND id = ANY(%(ids)s) AND state <> %(settled)s
        UNION
        SELECT mutation.id FROM mailcache_mutation AS mutation JOIN dropped ON mutation.depends_on_id = dropped.id
    )
    SELECT id FROM dropped ORDER BY id
"""
_DROP = """
    DELETE FROM mailcache_mutation WHERE account_id = %(account)s AND id = ANY(%(ids)s)
    RETURNING kind, remote_id
"""
# With nothing left that knows why it is not shown, the message is new to the next comparison.
_FORGET_REMOTES = """
    WITH forgotten AS (
        SELECT id FROM mailcache_remote AS remote
        WHERE account_id = %(account)s AND id = ANY(%(remotes)s)
          AND NOT EXISTS (SELECT 1 FROM mailcache_message WHERE remote_id = remote.id)
          AND NOT EXISTS (SELECT 1 FROM mailcache_mutation WHERE remote_id = remote.id)
    ), listing AS (
        DELETE FROM mailcache_listing WHERE account_id = %(account)s AND remote_id IN (SELECT id FROM forgotten)
    )
    DELETE FROM mailcache_remote WHERE account_id = %(account)s AND id IN (SELECT id FROM forgotten)
    RETURNING mailbox_id
"""
_TAKES_AWAY = frozenset({MutationKind.EXPUNGE, MutationKind.MOVE})


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was dropped: ``ids`` with all that depended on them; ``mailboxes`` have messages to be shown again."""

    ids: Collection[int] = ()
    mailboxes: Collection[int] = ()


@transaction.atomic
def retry_mutations(*, account_id: int, ids: Collection[int]) -> int:
    """Have parked mutations tried again, at once; returns how many were parked."""
    parked = Mutation.objects.filter(account_id=account_id, pk__in=ids, state=MutationState.PARKED)
    rows = list(parked.select_for_update(no_key=True, of=("self",)).select_related("message").order_by("pk"))
    for mutation in rows:
        # What was sent and not found may be there by now.
        is_open = bool(mutation.noted.get("uidnext"))
        mutation.state = MutationState.SENT if is_open else MutationState.PENDING
        mutation.attempts, mutation.next_try_at, mutation.parked_cause = 0, timezone.now(), ParkedCause.NONE
        mutation.save(update_fields=["state", "attempts", "next_try_at", "parked_cause"])
        if mutation.kind == MutationKind.APPEND:
            restore_recovered(mutation)
    if rows:
        transaction.on_commit(partial(announce_mutations, account_id))
    return len(rows)


@transaction.atomic
def drop_mutations(*, account_id: int, ids: Collection[int]) -> Dropped:
    """Give up on mutations and on what depends on them: what clients did is undone here.

    Messages that were to go upstream come back, and so do deleted mailboxes and old names; copies go. A message that
    was to be appended stays, here alone.
    """
    which: dict[str, Any] = {"account": account_id, "ids": list(ids), "settled": MutationState.SETTLED.value}
    all_ids = [mutation_id for (mutation_id,) in fetch_all(_DEPENDENTS, which)]
    lock_homes(account_id, all_ids)
    rows = Mutation.objects.filter(pk__in=all_ids)
    labels = rows.filter(kind__in=LABEL_KINDS)
    remotes = list(labels.filter(remote__isnull=False).values_list("remote_id", flat=True))
    unmade = rows.filter(kind__in=TRANSFERS) | labels.filter(kind=MutationKind.LABEL, remote=None)
    remove_messages_here(account_id, list(unmade.filter(message__isnull=False).values_list("message_id", flat=True)))
    undo_names(account_id, all_ids)
    mailboxes = undo_mutations(account_id, all_ids)
    _show_as_upstream(account_id, remotes)
    return Dropped(all_ids, mailboxes)


def undo_mutations(account_id: int, ids: Collection[int]) -> frozenset[int]:
    """Delete mutations in the caller's transaction; returns the mailboxes whose messages are to be shown again."""
    rows = fetch_all(_DROP, {"account": account_id, "ids": list(ids)})
    remotes = [remote for kind, remote in rows if kind in _TAKES_AWAY and remote is not None]
    mailboxes = fetch_all(_FORGET_REMOTES, {"account": account_id, "remotes": remotes}) if remotes else []
    return frozenset(mailbox_id for (mailbox_id,) in mailboxes)


def _show_as_upstream(account_id: int, remote_ids: Collection[int]) -> None:
    """Show messages in the label mailboxes that the upstream has them in, in the caller's transaction."""
    labels = dict(Remote.objects.filter(account_id=account_id, pk__in=remote_ids).values_list("pk", "labels"))
    source_id = mailbox_with_role(account_id, MailboxRole.ALL)
    if labels and source_id is not None:
        with_locks([source_id], lambda locks: show_messages(locks, source_id, labels))
