"""COPY and MOVE within one account (RFC 3501 6.4.7, RFC 6851)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from mailcache.errors import InvalidValue, NoSuchMailbox
from mailcache.flags import FlagDelta
from mailcache.journal import LockedMailbox, lock_mailboxes, write_change
from mailcache.models import Mailbox, MutationKind
from mailcache.services.copy_flags import note_agreed
from mailcache.services.expunge import delete_messages
from mailcache.services.label_guard import check_no_label
from mailcache.services.mutation_queue import NewMutation, queue_mutations
from mailcache.services.recovered import check_not_recovered, forget_refused
from mailcache.services.rows import count_appeared, execute, fetch_all
from mailcache.services.selected_messages import SelectedMessage, select_messages
from mailcache.wire.number_set import NumberSet

# A message whose bytes are not here yet goes on pointing at where they are.
_COPY = """
    WITH input AS (
        SELECT * FROM unnest(%(sources)s::bigint[], %(uids)s::bigint[]) AS row (source_id, uid)
    ), copied AS (
        INSERT INTO mailcache_message (account_id, mailbox_id, uid, flags, keywords, modseq, internal_date,
                                       internal_zone, size, emailid, threadid, content_id, remote_id)
        SELECT %(account)s, %(target)s, input.uid, source.flags, source.keywords, %(modseq)s, source.internal_date,
               source.internal_zone, source.size, source.emailid, source.threadid, source.content_id,
               CASE WHEN source.content_id IS NULL THEN source.remote_id END
        FROM input JOIN mailcache_message AS source ON source.id = input.source_id
        RETURNING id, uid
    )
    SELECT id FROM copied ORDER BY uid
"""

# What was queued about the message goes on being true of it where it is now; what made it appear is another's affair.
_CARRY = """
    UPDATE mailcache_mutation AS mutation
    SET message_id = CASE WHEN mutation.kind = %(store)s THEN input.new_id END
    FROM unnest(%(old)s::bigint[], %(new)s::bigint[]) AS input (old_id, new_id)
    WHERE mutation.account_id = %(account)s AND mutation.message_id = input.old_id
"""


@dataclass(frozen=True, slots=True)
class TransferResult:
    """Which messages went where: ``source_uids`` and ``target_uids`` correspond, ascending (COPYUID, RFC 4315)."""

    uidvalidity: int
    source_uids: Sequence[int] = ()
    target_uids: Sequence[int] = ()


@transaction.atomic
def copy_messages(*, user_id: int, mailbox_id: int, target_id: int, uids: NumberSet) -> TransferResult:
    """Copy messages into another mailbox (or the same one) of the account; raises ``NoSuchMailbox``."""
    source, target = _lock_both(user_id, mailbox_id, target_id)
    messages = select_messages(source, uids)
    return _transfer(source, target, messages, MutationKind.COPY)[0]


@transaction.atomic
def move_messages(*, user_id: int, mailbox_id: int, target_id: int, uids: NumberSet) -> TransferResult:
    """Move messages into another mailbox of the account; raises ``NoSuchMailbox``, ``InvalidValue``."""
    if mailbox_id == target_id:
        raise InvalidValue("messages cannot be moved to where they are")
    source, target = _lock_both(user_id, mailbox_id, target_id)
    messages = select_messages(source, uids)
    result, new_ids = _transfer(source, target, messages, MutationKind.MOVE)
    if messages:
        parameters = {
            "account": source.account_id,
            "store": MutationKind.STORE.value,
            "old": [message.id for message in messages],
            "new": new_ids,
        }
        forget_refused(source, [message.id for message in messages])
        execute(_CARRY, parameters)
        delete_messages(source, messages)
    return result


def _lock_both(user_id: int, mailbox_id: int, target_id: int) -> tuple[LockedMailbox, LockedMailbox]:
    locked = lock_mailboxes({mailbox_id, target_id}, user_id=user_id)
    source, target = locked[mailbox_id], locked[target_id]
    if source.account_id != target.account_id:
        raise NoSuchMailbox("the mailbox belongs to another account")
    check_no_label([mailbox_id, target_id])
    check_not_recovered(Mailbox.objects.values_list("name", flat=True).get(pk=target_id))
    return source, target


def _transfer(
    source: LockedMailbox, target: LockedMailbox, messages: Sequence[SelectedMessage], kind: MutationKind
) -> tuple[TransferResult, list[int]]:
    if not messages:
        return TransferResult(target.uidvalidity), []
    uids = list(range(target.uidnext, target.uidnext + len(messages)))
    parameters = {
        "account": target.account_id,
        "target": target.id,
        "modseq": target.modseq,
        "sources": [message.id for message in messages],
        "uids": uids,
    }
    new_ids = [new_id for (new_id,) in fetch_all(_COPY, parameters)]
    _queue(source, target, list(zip(new_ids, messages, strict=True)), kind)
    note_agreed(target.account_id, message_ids=new_ids)
    write_change(
        target,
        appeared=NumberSet.from_numbers(uids),
        uidnext=uids[-1] + 1,
        counters=count_appeared([message.flags for message in messages], (message.size for message in messages)),
    )
    return TransferResult(target.uidvalidity, [message.uid for message in messages], uids), new_ids


def _queue(
    source: LockedMailbox, target: LockedMailbox, pairs: Sequence[tuple[int, SelectedMessage]], kind: MutationKind
) -> None:
    """Queue what makes the new messages appear upstream; one that is only here goes there from here."""
    transfers = [
        NewMutation(
            new_id, message.source_remote_id, message.creator_id, message.content_id, arguments=message.identity
        )
        for new_id, message in pairs
        if not message.is_only_here
    ]
    appends = [
        NewMutation(
            new_id,
            content_id=message.content_id,
            delta=FlagDelta(add=message.flags),
            arguments=message.identity,
        )
        for new_id, message in pairs
        if message.is_only_here
    ]
    account_id = source.account_id
    queue_mutations(account_id=account_id, kind=kind, mailbox_id=source.id, target_id=target.id, rows=transfers)
    queue_mutations(
        account_id=account_id, kind=MutationKind.APPEND, mailbox_id=target.id, target_id=target.id, rows=appends
    )
