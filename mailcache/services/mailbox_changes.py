"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 6.3.3-6.3.7): here at once, upstream by replay."""

from __future__ import annotations

from functools import partial

from django.db import transaction
from django.utils import timezone

from mailcache.errors import InvalidValue, NameTaken, NoSuchMailbox
from mailcache.journal import announce
from mailcache.models import Account, Mailbox, MailboxRole, MutationKind
from mailcache.names import DELIMITER, INBOX, check_new_name, upstream_name
from mailcache.services.ingest_list import next_uidvalidity
from mailcache.services.mutation_queue import NewMutation, queue_mutations
from mailcache.services.recovered import check_not_recovered
from mailcache.services.rows import execute
from mailcache.services.transfer import move_messages
from mailcache.wire.number_set import NumberSet

# What the messages of a deleted mailbox leave behind are their Remote rows and what is queued about them: the upstream
# has to be told of moves out of it before it is deleted there.
_EMPTY = """
    WITH mutation AS (
        UPDATE mailcache_mutation AS mutation SET message_id = NULL
        FROM mailcache_message AS message
        WHERE message.account_id = %(account)s AND message.mailbox_id = %(mailbox)s
          AND mutation.account_id = %(account)s AND mutation.message_id = message.id
    )
    DELETE FROM mailcache_message WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s
"""
_EVERYTHING = NumberSet([(1, 2**32 - 1)])


@transaction.atomic
def create_mailbox(*, user_id: int, account_id: int, name: str, role: MailboxRole = MailboxRole.NONE) -> Mailbox:
    """Create a mailbox; ``role`` is its special use (RFC 6154 3). Raises ``InvalidValue``, ``NameTaken``."""
    account = _lock_account(user_id, account_id)
    mailbox = _create(account, name, role)
    account.save(update_fields=["last_uidvalidity"])
    return mailbox


@transaction.atomic
def delete_mailbox(*, user_id: int, mailbox_id: int) -> None:
    """Delete a mailbox with its messages; mailboxes below it stay. Raises ``NoSuchMailbox``, ``InvalidValue``."""
    mailbox = _lock_mailbox(user_id, mailbox_id)
    if mailbox.name == INBOX:
        raise InvalidValue("INBOX cannot be deleted")
    _check_not_system(mailbox)
    execute(_EMPTY, {"account": mailbox.account_id, "mailbox": mailbox.pk})
    mailbox.deleted_at = timezone.now()
    mailbox.messages = mailbox.unseen = mailbox.deleted = mailbox.bytes = 0
    mailbox.highestmodseq += 1
    mailbox.save(update_fields=["deleted_at", "messages", "unseen", "deleted", "bytes", "highestmodseq"])
    _queue(mailbox, MutationKind.DELETE, {"name": mailbox.name})
    transaction.on_commit(partial(announce, mailbox.pk, mailbox.highestmodseq))


@transaction.atomic
def rename_mailbox(*, user_id: int, mailbox_id: int, name: str) -> None:
    """Rename a mailbox and everything below it; INBOX gives its messages to a new mailbox instead (RFC 3501 6.3.5).

    UIDs and UIDVALIDITY stay. Raises ``NoSuchMailbox``, ``InvalidValue``, ``NameTaken``.
    """
    account = _lock_account_of(user_id, mailbox_id)
    mailbox = _lock_mailbox(user_id, mailbox_id)
    if mailbox.name == INBOX:
        target = _create(account, name, MailboxRole.NONE)
        account.save(update_fields=["last_uidvalidity"])
        move_messages(user_id=user_id, mailbox_id=mailbox.pk, target_id=target.pk, uids=_EVERYTHING)
        return
    _check_not_system(mailbox)
    before = mailbox.name
    _check_free(account, name)
    if (name + DELIMITER).startswith(before + DELIMITER):
        raise InvalidValue("a mailbox cannot be moved below itself")
    below = Mailbox.objects.present(account.pk).filter(name__startswith=before + DELIMITER)
    for child in [mailbox, *below.select_for_update(no_key=True).order_by("pk")]:
        child.name = name + child.name[len(before) :]
        child.save(update_fields=["name"])
    _queue(mailbox, MutationKind.RENAME, {"from": before, "to": name})


@transaction.atomic
def set_subscribed(*, user_id: int, mailbox_id: int, subscribed: bool) -> None:
    """Subscribe to a mailbox, or no longer; raises ``NoSuchMailbox``."""
    mailbox = _lock_mailbox(user_id, mailbox_id)
    if mailbox.subscribed != subscribed:
        mailbox.subscribed = subscribed
        mailbox.save(update_fields=["subscribed"])
        _queue(mailbox, MutationKind.SUBSCRIBE if subscribed else MutationKind.UNSUBSCRIBE)


def _create(account: Account, name: str, role: MailboxRole) -> Mailbox:
    _check_free(account, name)
    label = _label(account, name)
    mailbox = Mailbox.objects.create(
        account=account,
        name=name,
        # Gmail gives no special uses.
        role=MailboxRole.NONE if label else role,
        uidvalidity=next_uidvalidity(account),
        upstream_name=None,
        label=label,
    )
    _queue(mailbox, MutationKind.CREATE, {"name": name, "role": role.value})
    return mailbox


def _label(account: Account, name: str) -> str:
    """Return the label that a new mailbox shows where mailboxes are labels."""
    labelled = Mailbox.objects.present(account.pk).exclude(label="").first()
    return "" if labelled is None else upstream_name(name, delimiter=labelled.upstream_delimiter)


def _check_not_system(mailbox: Mailbox) -> None:
    """Raise ``InvalidValue`` for Gmail's own mailboxes, which nobody can rename or delete."""
    has_labels = Mailbox.objects.present(mailbox.account_id).exclude(label="").exists()
    is_source = has_labels and mailbox.role in (MailboxRole.ALL, MailboxRole.JUNK, MailboxRole.TRASH)
    if is_source or mailbox.label.startswith("\\"):
        raise InvalidValue("this mailbox belongs to the mail provider")


def _check_free(account: Account, name: str) -> None:
    present = Mailbox.objects.present(account.pk)
    inbox = present.filter(name=INBOX).first()
    check_new_name(name, upstream_delimiter=inbox.upstream_delimiter if inbox else DELIMITER)
    if present.filter(name=name).exists():
        raise NameTaken(f"there is a mailbox {name} already")


def _lock_account(user_id: int, account_id: int) -> Account:
    """Lock the account, so that two clients cannot give one name twice."""
    account = Account.objects.of_user(user_id).select_for_update(no_key=True).filter(pk=account_id).first()
    if account is None:
        raise NoSuchMailbox("no such account")
    return account


def _lock_account_of(user_id: int, mailbox_id: int) -> Account:
    owner = Mailbox.objects.filter(pk=mailbox_id).values_list("account_id", flat=True).first()
    if owner is None:
        raise NoSuchMailbox("no such mailbox")
    return _lock_account(user_id, owner)


def _lock_mailbox(user_id: int, mailbox_id: int) -> Mailbox:
    rows = Mailbox.objects.filter(account__user_id=user_id, deleted_at__isnull=True)
    mailbox = rows.select_for_update(no_key=True, of=("self",)).filter(pk=mailbox_id).first()
    if mailbox is None:
        raise NoSuchMailbox("no such mailbox")
    check_not_recovered(mailbox.name)
    return mailbox


def _queue(mailbox: Mailbox, kind: MutationKind, arguments: dict[str, str] | None = None) -> None:
    queue_mutations(
        account_id=mailbox.account_id, kind=kind, mailbox_id=mailbox.pk, rows=[NewMutation(arguments=arguments or {})]
    )
