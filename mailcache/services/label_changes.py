"""COPY, MOVE, EXPUNGE and APPEND where mailboxes are labels of the messages in All Mail (field notes section 2, G6).

| what a client does | what becomes of it |
|---|---|
| COPY into a label mailbox | the message gets the label |
| MOVE out of a label mailbox | and loses the other one; into All Mail it only loses it |
| EXPUNGE in a label mailbox | the message loses the label, and stays in All Mail |
| EXPUNGE in All Mail or Drafts | the message moves to Trash: a draft without its label would look like mail that came |
| COPY or MOVE to Trash or Spam | the message moves there, and leaves all other mailboxes at once |
| COPY or MOVE from there | the message moves to All Mail and gets the label |
| MOVE out of All Mail into a label mailbox | as COPY: All Mail has all mail |
| EXPUNGE in Trash or Spam | the message is deleted |

Of a message that has several mailboxes here the rows share one Remote, or the mutation that will make it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from mailcache.errors import NoTrash
from mailcache.journal import LockedMailbox
from mailcache.models import LABEL_KINDS, MailboxRole, MutationKind, MutationState
from mailcache.services.label_places import DRAFT_LABEL, Place, all_mail_of, mailbox_with_role, place_of
from mailcache.services.mailbox_locks import Locks
from mailcache.services.mutation_queue import NewMutation, queue_mutations
from mailcache.services.recovered import forget_refused
from mailcache.services.rows import execute
from mailcache.services.selected_messages import SelectedMessage
from mailcache.services.transferred import (
    Shown,
    TransferResult,
    add_copies,
    carry_mutations,
    delete_messages,
    queue_transfers,
)
from mailcache.services.twins import Twin, read_twins
from mailcache.wire.number_set import NumberSet

# A message that leaves All Mail has no labels.
_FORGET_LABELS = """
    DELETE FROM mailcache_mutation
    WHERE account_id = %(account)s AND kind = ANY(%(kinds)s) AND state <> %(settled)s
      AND (remote_id = ANY(%(remotes)s) OR message_id = ANY(%(messages)s))
"""
Twins = Mapping[int, Sequence[Twin]]


def concerns_labels(source: LockedMailbox, target: LockedMailbox) -> bool:
    """True where a copy or move between these mailboxes changes labels, or takes them all away."""
    return place_of(source) is not Place.OWN or place_of(target) is Place.LABEL


def transfer_labelled(
    locks: Locks, kind: MutationKind, source: LockedMailbox, target: LockedMailbox, messages: Sequence[SelectedMessage]
) -> TransferResult:
    """Copy or move messages between mailboxes of which at least one is a label, or All Mail."""
    if place_of(source) is Place.OWN:
        uids = _take_back(locks, kind, source, target, messages)
    elif place_of(target) is Place.OWN:
        uids = _throw_away(locks, source, target, messages)
    else:
        uids = _relabel(locks, kind, source, target, messages)
    return TransferResult(target.uidvalidity, [message.uid for message in messages], uids)


def remove_labelled(locks: Locks, source: LockedMailbox, gone: Sequence[SelectedMessage]) -> NumberSet:
    """Remove messages from a label mailbox, or from All Mail; raises ``NoTrash`` where there is no Trash."""
    trash = trash_of(source)
    if trash is None:
        return _unlabel(source, gone, read_twins(source, gone))
    locks.require([trash])
    _throw_away(locks, source, locks[trash], gone)
    return NumberSet.from_numbers(message.uid for message in gone)


def trash_of(source: LockedMailbox) -> int | None:
    """Return the mailbox to which messages go that are removed from this one, None where they lose a label only.

    Raises ``NoTrash`` where that mailbox is not here.
    """
    if place_of(source) is not Place.ALL and source.label != DRAFT_LABEL:
        return None
    trash = mailbox_with_role(source.account_id, MailboxRole.TRASH)
    if trash is None:
        raise NoTrash("messages go from here to Trash, which is hidden from IMAP")
    return trash


def label_new(source_id: int, target: LockedMailbox, pairs: Sequence[tuple[int, int]]) -> None:
    """Queue the labels of new messages of a label mailbox, by pairs with the mutations that make them in All Mail."""
    rows = [NewMutation(message_id, depends_on_id=creator_id) for message_id, creator_id in pairs]
    queue_mutations(
        account_id=target.account_id, kind=MutationKind.LABEL, mailbox_id=source_id, target_id=target.id, rows=rows
    )


def _relabel(
    locks: Locks, kind: MutationKind, source: LockedMailbox, target: LockedMailbox, messages: Sequence[SelectedMessage]
) -> list[int]:
    twins = read_twins(source, messages)
    there = {
        message.id: twin.uid
        for message in messages
        for twin in twins.get(message.id, ())
        if twin.mailbox_id == target.id
    }
    if source.id == target.id:
        there = {message.id: message.uid for message in messages}
    missing = [message for message in messages if message.id not in there]
    copies = add_copies(target, missing, shares=True, marked=False)
    if place_of(target) is Place.LABEL:
        _queue_labels(MutationKind.LABEL, target, missing, copies.ids)
    if kind is MutationKind.MOVE and place_of(source) is Place.LABEL:
        _unlabel(source, messages, twins)
    there |= {message.id: uid for message, uid in zip(missing, copies.uids, strict=True)}
    return [there[message.id] for message in messages]


def _unlabel(source: LockedMailbox, messages: Sequence[SelectedMessage], twins: Twins) -> NumberSet:
    _queue_labels(MutationKind.UNLABEL, source, messages, [None] * len(messages))
    # What else was to be done to the message is still to be done to it.
    origins = {key: twin.id for key, group in twins.items() for twin in group if twin.is_origin}
    carry_mutations(source.account_id, [(message.id, origins.get(message.id)) for message in messages])
    return delete_messages(source, messages)


def _queue_labels(
    kind: MutationKind, label: LockedMailbox, messages: Sequence[SelectedMessage], new_ids: Sequence[int | None]
) -> None:
    rows = [
        NewMutation(new_id, message.source_remote_id, message.creator_id)
        for message, new_id in zip(messages, new_ids, strict=True)
        if not message.is_only_here
    ]
    queue_mutations(
        account_id=label.account_id,
        kind=kind,
        mailbox_id=all_mail_of(label.account_id),
        target_id=label.id,
        rows=rows,
    )


def _throw_away(
    locks: Locks, source: LockedMailbox, target: LockedMailbox, messages: Sequence[SelectedMessage]
) -> list[int]:
    """Move messages to Trash or Spam, out of all other mailboxes."""
    twins = read_twins(source, messages)
    locks.require({twin.mailbox_id for twin in chain.from_iterable(twins.values())})
    copies = add_copies(target, messages, marked=False)
    pairs = list(zip(copies.ids, messages, strict=True))
    queue_transfers(
        MutationKind.MOVE,
        account_id=source.account_id,
        source_id=all_mail_of(source.account_id),
        target_id=target.id,
        pairs=pairs,
        marked=False,
    )
    everywhere: dict[int, list[Shown]] = {source.id: list(messages)}
    carried: list[tuple[int, int | None]] = []
    for new_id, message in pairs:
        carried.append((message.id, new_id))
        for twin in twins.get(message.id, ()):
            everywhere.setdefault(twin.mailbox_id, []).append(twin)
            carried.append((twin.id, new_id))
    _forget_labels(source.account_id, messages, [old for old, _ in carried])
    carry_mutations(source.account_id, carried)
    for mailbox_id, gone in everywhere.items():
        delete_messages(locks[mailbox_id], gone)
    return list(copies.uids)


def _forget_labels(account_id: int, messages: Sequence[SelectedMessage], message_ids: Sequence[int]) -> None:
    parameters = {
        "account": account_id,
        "kinds": [kind.value for kind in LABEL_KINDS],
        "settled": MutationState.SETTLED.value,
        "remotes": [one.source_remote_id for one in messages if one.source_remote_id is not None],
        "messages": list(message_ids),
    }
    execute(_FORGET_LABELS, parameters)


def _take_back(
    locks: Locks, kind: MutationKind, source: LockedMailbox, target: LockedMailbox, messages: Sequence[SelectedMessage]
) -> list[int]:
    """Take messages out of Trash or Spam: into All Mail, with a label."""
    all_mail = all_mail_of(source.account_id)
    locks.require([all_mail])
    made = add_copies(locks[all_mail], messages, marked=False)
    shown = add_copies(target, messages, marked=False)
    pairs = list(zip(made.ids, messages, strict=True))
    creators = queue_transfers(
        kind, account_id=source.account_id, source_id=source.id, target_id=all_mail, pairs=pairs, marked=False
    )
    label_new(all_mail, target, list(zip(shown.ids, creators, strict=True)))
    if kind is MutationKind.MOVE:
        forget_refused(source, [message.id for message in messages])
        carry_mutations(source.account_id, [(message.id, new_id) for new_id, message in pairs])
        delete_messages(source, messages)
    return list(shown.uids)
