"""Ingest of the upstream's LIST: mailboxes appear, change their role, and go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from mailcache.models import Account, Mailbox, MailboxRole
from mailcache.names import INBOX
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.services.rows import execute

# The ORM's cascade would read every row before it deletes it; these tables are large.
_DELETE_ROWS = """
    WITH mutation AS (DELETE FROM mailcache_mutation WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s),
         listing AS (DELETE FROM mailcache_listing WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s),
         message AS (DELETE FROM mailcache_message WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s),
         remote AS (DELETE FROM mailcache_remote WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s)
    DELETE FROM mailcache_change WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s
"""

# A mailbox goes when this many complete LIST answers in a row did not name it (field notes: partial LIST answers).
_GONE_AFTER = 2


@dataclass(frozen=True, slots=True)
class UpstreamMailbox:
    """One mailbox as the upstream lists it, and the name that it has here."""

    upstream_name: bytes
    name: str
    delimiter: str
    selectable: bool
    role: MailboxRole
    mailbox_id: str = ""


@dataclass(frozen=True, slots=True)
class MailboxListChanges:
    """How many mailboxes a LIST created, changed, and deleted."""

    created: int
    changed: int
    deleted: int


@transaction.atomic
def ingest_mailbox_list(*, fence: Fence, listed: Sequence[UpstreamMailbox]) -> MailboxListChanges:
    """Bring the account's mailboxes in step with one complete LIST answer.

    An answer without INBOX cannot be complete and deletes nothing. Two upstream names that would be one name here
    (spellings that differ in case only for INBOX, say) keep the first.
    """
    leases.check(fence)
    account = Account.objects.select_for_update().get(pk=fence.account_id)
    here = {bytes(row.upstream_name or b""): row for row in Mailbox.objects.mirrored(account.pk).select_for_update()}
    taken = set(Mailbox.objects.filter(account=account).values_list("name", flat=True))
    created = changed = 0
    for entry in listed:
        mailbox = here.pop(entry.upstream_name, None)
        if mailbox is not None:
            changed += _update(mailbox, entry)
        elif entry.name not in taken:
            taken.add(entry.name)
            _create(account, entry)
            created += 1
    deleted = _note_missing(list(here.values())) if any(entry.name == INBOX for entry in listed) else 0
    account.save(update_fields=["last_uidvalidity"])
    return MailboxListChanges(created, changed, deleted)


def next_uidvalidity(account: Account) -> int:
    """Return a UIDVALIDITY that no mailbox of this (locked) account ever had; the caller saves the account."""
    account.last_uidvalidity = max(account.last_uidvalidity + 1, int(timezone.now().timestamp()))
    return account.last_uidvalidity


def _create(account: Account, entry: UpstreamMailbox) -> None:
    Mailbox.objects.create(
        account=account,
        name=entry.name,
        selectable=entry.selectable,
        role=entry.role,
        uidvalidity=next_uidvalidity(account),
        upstream_name=entry.upstream_name,
        upstream_delimiter=entry.delimiter,
        upstream_mailbox_id=entry.mailbox_id,
    )


def _update(mailbox: Mailbox, entry: UpstreamMailbox) -> bool:
    before = (mailbox.selectable, mailbox.role, mailbox.upstream_delimiter, mailbox.missed_lists)
    after = (entry.selectable, str(entry.role), entry.delimiter, 0)
    if before == after:
        return False
    mailbox.selectable, mailbox.role, mailbox.upstream_delimiter, mailbox.missed_lists = after
    mailbox.save(update_fields=["selectable", "role", "upstream_delimiter", "missed_lists"])
    return True


def _note_missing(mailboxes: Sequence[Mailbox]) -> int:
    deleted = 0
    for mailbox in mailboxes:
        if mailbox.missed_lists + 1 >= _GONE_AFTER:
            delete_mailbox_rows(mailbox)
            deleted += 1
        else:
            Mailbox.objects.filter(pk=mailbox.pk).update(missed_lists=F("missed_lists") + 1)
    return deleted


def delete_mailbox_rows(mailbox: Mailbox) -> None:
    """Delete a mailbox and everything in it, in the caller's transaction. Content stays for the collector."""
    execute(_DELETE_ROWS, {"account": mailbox.account_id, "mailbox": mailbox.pk})
    mailbox.delete()
