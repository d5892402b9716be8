"""COPY and MOVE within one account (RFC 3501 6.4.7, RFC 6851)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mailcache.errors import InvalidValue, MessagesGone, NoSuchMailbox
from mailcache.journal import LockedMailbox
from mailcache.models import Mailbox, MutationKind
from mailcache.services.copy_flags import note_agreed
from mailcache.services.label_changes import concerns_labels, transfer_labelled
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.recovered import check_not_recovered, forget_refused
from mailcache.services.selected_messages import SelectedMessage, select_messages
from mailcache.services.transferred import (
    TransferResult,
    add_copies,
    carry_mutations,
    delete_messages,
    queue_transfers,
)
from mailcache.wire.number_set import NumberSet


def copy_messages(
    *, user_id: int, mailbox_id: int, target_id: int, uids: NumberSet, all_or_none: bool = False
) -> TransferResult:
    """Copy messages into another mailbox (or the same one) of the account; raises ``NoSuchMailbox``.

    Those that do not exist are left out; with ``all_or_none`` ``MessagesGone`` is raised instead. Where mailboxes are
    labels, ``label_changes`` tells what becomes of them.
    """
    work = partial(_transfer, MutationKind.COPY, mailbox_id, target_id, uids, all_or_none=all_or_none)
    return with_locks({mailbox_id, target_id}, work, user_id=user_id)


def move_messages(
    *, user_id: int, mailbox_id: int, target_id: int, uids: NumberSet, all_or_none: bool = False
) -> TransferResult:
    """Move messages into another mailbox of the account, as ``copy_messages`` does; also raises ``InvalidValue``."""
    if mailbox_id == target_id:
        raise InvalidValue("messages cannot be moved to where they are")
    work = partial(_transfer, MutationKind.MOVE, mailbox_id, target_id, uids, all_or_none=all_or_none)
    return with_locks({mailbox_id, target_id}, work, user_id=user_id)


def _transfer(
    kind: MutationKind, source_id: int, target_id: int, uids: NumberSet, locks: Locks, *, all_or_none: bool
) -> TransferResult:
    source, target = locks[source_id], locks[target_id]
    if source.account_id != target.account_id:
        raise NoSuchMailbox("the mailbox belongs to another account")
    check_not_recovered(Mailbox.objects.values_list("name", flat=True).get(pk=target_id))
    messages = select_messages(source, uids)
    if all_or_none and len(messages) < len(uids):
        raise MessagesGone("some of the messages no longer exist")
    if not messages:
        return TransferResult(target.uidvalidity)
    if concerns_labels(source, target):
        return transfer_labelled(locks, kind, source, target, messages)
    copies = add_copies(target, messages)
    pairs = list(zip(copies.ids, messages, strict=True))
    queue_transfers(kind, account_id=source.account_id, source_id=source.id, target_id=target.id, pairs=pairs)
    note_agreed(target.account_id, message_ids=copies.ids)
    if kind is MutationKind.MOVE:
        _leave(source, messages, copies.ids)
    return TransferResult(target.uidvalidity, [message.uid for message in messages], copies.uids)


def _leave(source: LockedMailbox, messages: Sequence[SelectedMessage], new_ids: Sequence[int]) -> None:
    forget_refused(source, [message.id for message in messages])
    carry_mutations(source.account_id, [(message.id, new) for message, new in zip(messages, new_ids, strict=True)])
    delete_messages(source, messages)
