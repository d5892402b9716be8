"""Mailboxes that are labels (Gmail): their messages are those of All Mail, shown where X-GM-LABELS says.

A message of All Mail and those that show it in label mailboxes share one Remote: bytes are fetched once, flags are the
same everywhere. Which mailboxes show it follows from its labels and from what is here, so that every change can be
applied again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from django.db import transaction

from mailcache.errors import StaleList
from mailcache.flags import ALL_SYSTEM_FLAGS, FlagSet, SystemFlag
from mailcache.journal import LockedMailbox, write_change
from mailcache.models import LABEL_KINDS, Account, Mailbox, MailboxRole, MutationKind
from mailcache.services import leases
from mailcache.services.ingest_expunge import remove_own_messages
from mailcache.services.label_adoption import adopt_messages
from mailcache.services.leases import Fence
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.message_flags import FlagChange
from mailcache.services.overlay import is_list_stale
from mailcache.services.rows import count_appeared, count_changed, count_expunged, execute, fetch_all
from mailcache.services.settle_labels import rename_label
from mailcache.wire.number_set import NumberSet

ALL_MAIL_HIDDEN = "the upstream hides All Mail from IMAP"

_REMOTES = """
    SELECT id, uid, labels FROM mailcache_remote
    WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s
      AND uidvalidity = %(uidvalidity)s AND uid = ANY(%(uids)s)
    ORDER BY uid
"""

_NOTE_LABELS = """
    UPDATE mailcache_remote AS remote SET labels = string_to_array(input.labels, E'\\n')
    FROM unnest(%(ids)s::bigint[], %(labels)s::text[]) AS input (id, labels)
    WHERE remote.id = input.id AND remote.account_id = %(account)s
"""

_SHOWN = """
    SELECT message.id, message.remote_id, message.mailbox_id FROM mailcache_message AS message
    WHERE message.account_id = %(account)s AND message.remote_id = ANY(%(remotes)s)
      AND message.mailbox_id = ANY(%(mailboxes)s)
"""

# The message in All Mail is what is shown; one that is not here (expunged by a client) is shown nowhere.
_SHOW = """
    INSERT INTO mailcache_message (account_id, mailbox_id, uid, flags, keywords, modseq, internal_date,
                                   internal_zone, size, emailid, threadid, content_id, remote_id)
    SELECT source.account_id, input.mailbox_id, input.uid, source.flags & %(unmarked)s, source.keywords, input.modseq,
           source.internal_date, source.internal_zone, source.size, source.emailid, source.threadid,
           source.content_id, source.remote_id
    FROM unnest(%(remotes)s::bigint[], %(mailboxes)s::bigint[], %(uids)s::bigint[], %(modseqs)s::bigint[])
         AS input (remote_id, mailbox_id, uid, modseq)
    JOIN mailcache_message AS source ON source.remote_id = input.remote_id AND source.mailbox_id = %(source)s
    WHERE source.account_id = %(account)s
    RETURNING mailbox_id, uid, flags, size
"""

# What clients changed and no read of the upstream contains yet; of one label the last change counts.
_PENDING = """
    SELECT DISTINCT ON (mutation.remote_id, mutation.target_id)
           mutation.remote_id, mailbox.label, mutation.kind = %(label)s
    FROM mailcache_mutation AS mutation JOIN mailcache_mailbox AS mailbox ON mailbox.id = mutation.target_id
    WHERE mutation.account_id = %(account)s AND mutation.kind = ANY(%(kinds)s) AND mutation.remote_id = ANY(%(remotes)s)
      AND (mutation.settlement IS NULL OR mutation.settlement > %(settlements)s)
    ORDER BY mutation.remote_id, mutation.target_id, mutation.id DESC
"""

# A change that waits to be replayed is the message's, not the label's.
_KEEP_MUTATIONS = """
    UPDATE mailcache_mutation AS mutation SET message_id = source.id, mailbox_id = source.mailbox_id
    FROM mailcache_message AS gone
    JOIN mailcache_message AS source ON source.remote_id = gone.remote_id AND source.mailbox_id = %(source)s
    WHERE mutation.account_id = %(account)s AND mutation.message_id = gone.id AND gone.id = ANY(%(messages)s)
"""

_HIDE = """
    WITH mutation AS (
        DELETE FROM mailcache_mutation WHERE account_id = %(account)s AND message_id = ANY(%(messages)s)
    )
    DELETE FROM mailcache_message WHERE account_id = %(account)s AND id = ANY(%(messages)s)
    RETURNING mailbox_id, uid, flags, size
"""

_NOT_SHOWN = """
    SELECT remote.id, remote.uid, remote.labels FROM mailcache_remote AS remote
    WHERE remote.account_id = %(account)s AND remote.mailbox_id = %(source)s AND remote.uid > %(above)s
      AND remote.labels @> ARRAY[%(label)s]
      AND NOT EXISTS (SELECT 1 FROM mailcache_message AS message
                      WHERE message.remote_id = remote.id AND message.mailbox_id = %(mailbox)s)
    ORDER BY remote.uid LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class LabelChanges:
    """How many messages appeared in label mailboxes, and disappeared from them."""

    appeared: int = 0
    disappeared: int = 0


class _Shown(NamedTuple):
    message_id: int
    remote_id: int
    mailbox_id: int


class _Row(NamedTuple):
    mailbox_id: int
    uid: int
    flags: int
    size: int


@dataclass(slots=True)
class _Story:
    """What a transaction does to one mailbox."""

    appeared: list[_Row] = field(default_factory=list)
    disappeared: list[_Row] = field(default_factory=list)
    changed: list[FlagChange] = field(default_factory=list)


@transaction.atomic
def apply_labels(
    *,
    fence: Fence,
    source_mailbox_id: int,
    uidvalidity: int,
    labels: Mapping[int, Collection[str]],
    settlements: int = 0,
) -> LabelChanges:
    """Take over the labels of messages by upstream UID: they appear in label mailboxes, and disappear from them.

    Only a mailbox that holds all mail is a source of label mailboxes: what is in Spam or Trash is shown nowhere else,
    whatever its labels are. What clients changed lies on top of that, unless it had settled when the account had
    counted ``settlements``, before these labels were read.
    """
    leases.check(fence)
    return with_locks([source_mailbox_id], partial(_apply, source_mailbox_id, uidvalidity, labels, settlements))


def _apply(
    source_id: int, uidvalidity: int, labels: Mapping[int, Collection[str]], settlements: int, locks: Locks
) -> LabelChanges:
    account_id = locks[source_id].account_id
    where = {"account": account_id, "mailbox": source_id, "uidvalidity": uidvalidity, "uids": list(labels)}
    remotes = fetch_all(_REMOTES, where)
    told = {remote_id: labels[uid] for remote_id, uid, _ in remotes}
    changes = show_messages(locks, source_id, told, settlements=settlements)
    noted = {remote_id: labels[uid] for remote_id, uid, known in remotes if set(known) != set(labels[uid])}
    if noted:
        columns = {"ids": list(noted), "labels": ["\n".join(sorted(each)) for each in noted.values()]}
        execute(_NOTE_LABELS, {"account": account_id, **columns})
    return changes


@transaction.atomic
def set_labels(*, fence: Fence, labels: Mapping[bytes, str], settlements: int | None = None) -> list[int]:
    """Note which mailboxes show a label, by upstream name; returns those that did not.

    A mailbox that no longer shows one must have Remotes of its own: ``label_adoption.split_off``. Raises ``StaleList``
    where a change of names has settled after ``settlements`` was read, before the LIST.
    """
    leases.check(fence)
    Account.objects.select_for_update(no_key=True).get(pk=fence.account_id)
    if settlements is not None and is_list_stale(account_id=fence.account_id, settlements=settlements):
        raise StaleList("a mailbox was created, deleted or renamed upstream while the list was being read")
    new = []
    for mailbox in Mailbox.objects.mirrored(fence.account_id).order_by("pk"):
        before, after = mailbox.label, labels.get(bytes(mailbox.upstream_name or b""), "")
        if before == after:
            continue
        if before and after:
            rename_label(mailbox, after)
            continue
        Mailbox.objects.filter(pk=mailbox.pk).update(label=after)
        if after:
            new.append(mailbox.pk)
    return new


@transaction.atomic
def hide_all_mail(*, fence: Fence, hidden: bool) -> None:
    """Leave All Mail as it is while the upstream does not show it, and take it up again."""
    leases.check(fence)
    rows = Mailbox.objects.mirrored(fence.account_id).filter(role=MailboxRole.ALL)
    if hidden:
        rows.filter(sync_paused_reason="").update(sync_paused_reason=ALL_MAIL_HIDDEN)
    else:
        rows.filter(sync_paused_reason=ALL_MAIL_HIDDEN).update(sync_paused_reason="")


def show_label(*, fence: Fence, mailbox_id: int, above: int, limit: int) -> int | None:
    """Show messages in a label mailbox that was not here yet when they got the label, at most ``limit`` at a time.

    Begins ``above`` an upstream UID of All Mail; returns the one to go on from, None at the end.
    """
    mailbox = Mailbox.objects.get(account_id=fence.account_id, pk=mailbox_id)
    source = Mailbox.objects.filter(account_id=fence.account_id, role=MailboxRole.ALL).first()
    if not mailbox.label or source is None:
        return None
    parameters = {"source": source.pk, "mailbox": mailbox.pk, "label": mailbox.label, "above": above, "limit": limit}
    with transaction.atomic():
        leases.check(fence)
        return with_locks([source.pk, mailbox.pk], partial(_show_label, source.pk, parameters))


def _show_label(source_id: int, parameters: dict[str, Any], locks: Locks) -> int | None:
    rows = fetch_all(_NOT_SHOWN, {**parameters, "account": locks[source_id].account_id})
    show_messages(locks, source_id, {remote_id: labels for remote_id, _, labels in rows})
    return rows[-1][1] if rows else None


@transaction.atomic
def remove_unlabelled(*, fence: Fence, mailbox_id: int, limit: int) -> int:
    """Remove at most ``limit`` messages that a label mailbox has of its own; returns how many went.

    They are left from a time without labels. When labels have been applied to all messages of All Mail, those that
    are still in the mailbox have been taken over, and these are not.
    """
    leases.check(fence)
    return remove_own_messages(mailbox_id=mailbox_id, limit=limit)


def label_mailboxes(account_id: int, source_mailbox_id: int) -> dict[str, int]:
    """Return the mailboxes that show messages of a source, by label; none unless it holds all mail."""
    if not Mailbox.objects.filter(account_id=account_id, pk=source_mailbox_id, role=MailboxRole.ALL).exists():
        return {}
    rows = Mailbox.objects.present(account_id).exclude(label="")
    return dict(rows.values_list("label", "pk"))


def show_messages(
    locks: Locks, source_id: int, labels: Mapping[int, Collection[str]], *, settlements: int = 0
) -> LabelChanges:
    """Bring label mailboxes in step with the labels of Remotes (by row id, in the order of their UIDs).

    In the caller's transaction, which has locked the source. ``settlements`` as in ``apply_labels``.
    """
    account_id = locks[source_id].account_id
    mailboxes = label_mailboxes(account_id, source_id)
    if not mailboxes or not labels:
        return LabelChanges()
    wanted = {
        (remote_id, mailboxes[label]): None
        for remote_id, names in with_pending_labels(account_id, labels, settlements).items()
        for label in names
        if label in mailboxes
    }
    where = {"account": account_id, "remotes": list(labels), "mailboxes": list(mailboxes.values())}
    shown = {(row.remote_id, row.mailbox_id): row for row in (_Shown(*row) for row in fetch_all(_SHOWN, where))}
    missing = [pair for pair in wanted if pair not in shown]
    surplus = [row for pair, row in shown.items() if pair not in wanted]
    locks.require({mailbox_id for _, mailbox_id in missing} | {row.mailbox_id for row in surplus})
    parameters = {
        "account": account_id,
        "source": source_id,
        "unmarked": int(ALL_SYSTEM_FLAGS & ~SystemFlag.DELETED),
    }
    adopted = adopt_messages(locks, source_id, missing)
    appeared = _show(locks, parameters, [pair for pair in missing if pair not in adopted.pairs])
    disappeared = _hide(parameters, surplus)
    _tell(locks, appeared, disappeared, adopted.changes)
    return LabelChanges(len(appeared), len(disappeared))


def with_pending_labels(
    account_id: int, labels: Mapping[int, Collection[str]], settlements: int = 0
) -> dict[int, set[str]]:
    """Return labels by Remote as clients have changed them since (the overlay)."""
    found = {remote_id: set(names) for remote_id, names in labels.items()}
    parameters = {
        "account": account_id,
        "kinds": [kind.value for kind in LABEL_KINDS],
        "label": MutationKind.LABEL.value,
        "remotes": list(labels),
        "settlements": settlements,
    }
    for remote_id, label, is_added in fetch_all(_PENDING, parameters):
        (found[remote_id].add if is_added else found[remote_id].discard)(label)
    return found


def _show(locks: Locks, parameters: dict[str, Any], missing: Collection[tuple[int, int]]) -> list[_Row]:
    if not missing:
        return []
    next_uid: dict[int, int] = {}
    uids = []
    for _, mailbox_id in missing:
        uid = next_uid.get(mailbox_id, locks[mailbox_id].uidnext)
        uids.append(uid)
        next_uid[mailbox_id] = uid + 1
    columns = {
        "remotes": [remote_id for remote_id, _ in missing],
        "mailboxes": [mailbox_id for _, mailbox_id in missing],
        "uids": uids,
        "modseqs": [locks[mailbox_id].modseq for _, mailbox_id in missing],
    }
    return [_Row(*row) for row in fetch_all(_SHOW, {**parameters, **columns})]


def _hide(parameters: dict[str, Any], surplus: Collection[_Shown]) -> list[_Row]:
    if not surplus:
        return []
    parameters = {**parameters, "messages": [row.message_id for row in surplus]}
    execute(_KEEP_MUTATIONS, parameters)
    return [_Row(*row) for row in fetch_all(_HIDE, parameters)]


def _tell(locks: Locks, appeared: Iterable[_Row], disappeared: Iterable[_Row], changed: Iterable[FlagChange]) -> None:
    """Write one change for each mailbox in which something happened."""
    stories: dict[int, _Story] = {}
    for row in appeared:
        stories.setdefault(row.mailbox_id, _Story()).appeared.append(row)
    for row in disappeared:
        stories.setdefault(row.mailbox_id, _Story()).disappeared.append(row)
    for change in changed:
        stories.setdefault(change.mailbox_id, _Story()).changed.append(change)
    for mailbox_id, story in stories.items():
        _write(locks[mailbox_id], story)


def _write(locked: LockedMailbox, story: _Story) -> None:
    new, gone = story.appeared, story.disappeared
    write_change(
        locked,
        appeared=NumberSet.from_numbers(row.uid for row in new),
        changed=NumberSet.from_numbers(change.uid for change in story.changed),
        expunged=NumberSet.from_numbers(row.uid for row in gone),
        uidnext=max([row.uid + 1 for row in new], default=locked.uidnext),
        counters=count_appeared([FlagSet.of(row.flags) for row in new], [row.size for row in new])
        + count_expunged([FlagSet.of(row.flags) for row in gone], [row.size for row in gone])
        + count_changed((change.before, change.after) for change in story.changed),
    )
