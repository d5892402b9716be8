"""``Recovered``: the local mailbox of messages that the upstream refused for good. Nothing of it is replayed.

Clients may read, move out and delete there. Moving a message out queues it for the mailbox that it is moved to.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from mailcache.errors import InvalidValue
from mailcache.flags import FlagSet
from mailcache.journal import LockedMailbox, lock_mailbox, lock_mailboxes, write_change
from mailcache.models import (
    LABEL_KINDS,
    TRANSFERS,
    Account,
    Mailbox,
    Message,
    Mutation,
    MutationKind,
    MutationState,
    ParkedCause,
)
from mailcache.names import RECOVERED
from mailcache.services import leases
from mailcache.services.ingest_list import next_uidvalidity
from mailcache.services.leases import Fence
from mailcache.services.rows import count_appeared, count_expunged, execute
from mailcache.services.transferred import remove_messages_here
from mailcache.wire.number_set import NumberSet

# Whoever takes a refused message away decides what becomes of it.
_FORGET = """
    WITH refused AS (
        SELECT id FROM mailcache_mutation
        WHERE account_id = %(account)s AND message_id = ANY(%(messages)s) AND kind = %(append)s AND state = %(parked)s
          AND target_id <> %(mailbox)s
    )
    DELETE FROM mailcache_mutation
    WHERE account_id = %(account)s AND (id IN (SELECT id FROM refused) OR depends_on_id IN (SELECT id FROM refused))
"""
# What was moved or copied on from where it was refused is offered to the upstream there.
_GO_ON = """
    UPDATE mailcache_mutation AS dependent
    SET kind = %(append)s, mailbox_id = dependent.target_id, content_id = refused.content_id, depends_on_id = NULL,
        arguments = refused.arguments
    FROM mailcache_mutation AS refused
    WHERE refused.id = %(id)s AND dependent.depends_on_id = refused.id AND dependent.account_id = %(account)s
      AND dependent.kind = ANY(%(transfers)s)
"""


def check_not_recovered(name: str) -> None:
    """Raise ``InvalidValue`` for the mailbox of refused messages, which clients may only read and clear.

    No other mailbox can have that name.
    """
    if name == RECOVERED:
        raise InvalidValue(f"{RECOVERED} belongs to this server")


@transaction.atomic
def recover_append(*, fence: Fence, mutation_id: int, reason: str, cause: ParkedCause = ParkedCause.REFUSED) -> None:
    """Park an APPEND that the upstream refuses for good, and move its message to ``Recovered``.

    A message that was moved or copied on in the meantime goes to the upstream from there.
    """
    leases.check(fence)
    account = Account.objects.select_for_update(no_key=True).get(pk=fence.account_id)
    rows = Mutation.objects.select_for_update(no_key=True, of=("self",)).exclude(state=MutationState.SETTLED)
    mutation = rows.filter(pk=mutation_id, account=account, kind=MutationKind.APPEND).first()
    if mutation is None or mutation.target_id is None:
        return
    parameters = {
        "account": account.pk,
        "id": mutation.pk,
        "append": MutationKind.APPEND.value,
        "transfers": [kind.value for kind in TRANSFERS],
    }
    went_on = execute(_GO_ON, parameters)
    if mutation.message_id is None and went_on:
        waiting = Mutation.objects.filter(depends_on=mutation)
        waiting.filter(kind__in=LABEL_KINDS).delete()
        waiting.update(depends_on=None)
        mutation.delete()
        return
    mutation.state, mutation.last_error = MutationState.PARKED, reason[:2000]
    mutation.parked_cause = cause
    mutation.save(update_fields=["state", "last_error", "parked_cause"])
    labels = Mutation.objects.filter(account=account, depends_on=mutation, kind=MutationKind.LABEL)
    shown_in = set(labels.filter(message__isnull=False).values_list("target_id", flat=True))
    recovered = _recovered(account)
    # All at once, in the order in which everybody does.
    lock_mailboxes({mutation.target_id, recovered.pk, *filter(None, shown_in)})
    # It gets its labels if it is appended after all.
    shown = list(labels.filter(message__isnull=False).values_list("message_id", flat=True))
    labels.update(message=None)
    remove_messages_here(account.pk, shown)
    if mutation.message_id is not None:
        _transfer(mutation.message_id, mutation.target_id, recovered.pk)


def restore_recovered(mutation: Mutation) -> None:
    """Move the message of a refused APPEND back to where it was meant to be, in the caller's transaction."""
    message = mutation.message
    if message is not None and mutation.target_id is not None and message.mailbox_id != mutation.target_id:
        _transfer(message.pk, message.mailbox_id, mutation.target_id)


def forget_refused(locked: LockedMailbox, message_ids: Sequence[int]) -> None:
    """Forget the parked APPENDs of messages of ``Recovered`` that are taken out of it, in the caller's transaction."""
    parameters = {
        "account": locked.account_id,
        "mailbox": locked.id,
        "messages": list(message_ids),
        "append": MutationKind.APPEND.value,
        "parked": MutationState.PARKED.value,
    }
    execute(_FORGET, parameters)


def _recovered(account: Account) -> Mailbox:
    """Return the (locked) account's mailbox of refused messages, made on first use."""
    found = Mailbox.objects.present(account.pk).filter(name=RECOVERED).first()
    if found is not None:
        return found
    mailbox = Mailbox.objects.create(
        account=account, name=RECOVERED, uidvalidity=next_uidvalidity(account), upstream_name=None
    )
    account.save(update_fields=["last_uidvalidity"])
    return mailbox


def _transfer(message_id: int, source_id: int, target_id: int) -> None:
    """Give a message another mailbox, with a new UID there; the row stays, and all that refers to it."""
    locked = {number: lock_mailbox(number) for number in sorted({source_id, target_id})}
    source, target = locked[source_id], locked[target_id]
    message = Message.objects.select_for_update(no_key=True).get(pk=message_id)
    flags = FlagSet.of(message.flags, message.keywords)
    gone = message.uid
    message.mailbox_id, message.uid, message.modseq = target.id, target.uidnext, target.modseq
    message.save(update_fields=["mailbox", "uid", "modseq"])
    write_change(source, expunged=NumberSet.from_numbers([gone]), counters=count_expunged([flags], [message.size]))
    write_change(
        target,
        appeared=NumberSet.from_numbers([message.uid]),
        uidnext=message.uid + 1,
        counters=count_appeared([flags], [message.size]),
    )
