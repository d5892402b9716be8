"""Ingest of the upstream's LIST: mailboxes appear, change their role, and go."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from types import MappingProxyType

from django.db import transaction
from django.db.models import CharField, F, QuerySet, Value
from django.db.models.functions import Cast, Coalesce, Concat
from django.utils import timezone

from mailcache.errors import StaleList
from mailcache.merge import Event, merged_name, rescued_by
from mailcache.models import CREATORS, Account, Mailbox, MailboxRole, Mutation, MutationKind, MutationState, Remote
from mailcache.names import INBOX
from mailcache.services import leases
from mailcache.services.ingest_expunge import remove_own_messages
from mailcache.services.leases import Fence
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.mutation_queue import NewMutation, queue_mutations
from mailcache.services.overlay import is_list_stale, let_go_of, show_followed
from mailcache.services.rows import execute, fetch_all
from mailcache.services.transferred import remove_messages_here

# What was recognised as a copy of a message in a mailbox that goes was moved from there.
_MOVED = """
    DELETE FROM mailcache_listing AS listing USING mailcache_message AS gone, mailcache_message AS other
    WHERE gone.account_id = %(account)s AND gone.mailbox_id = %(mailbox)s
      AND other.content_id = gone.content_id AND other.mailbox_id <> gone.mailbox_id
      AND listing.account_id = %(account)s AND listing.remote_id = other.remote_id
"""

# What was copied or moved out of it and has not arrived was meant to be kept: it goes upstream from where it is here.
_MOVED_OUT = """
    UPDATE mailcache_mutation SET mailbox_id = target_id, kind = %(copy)s
    WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s AND target_id <> %(mailbox)s
      AND kind = ANY(%(transfers)s) AND state <> %(settled)s
"""

# Mutations of this mailbox go with it; what waits for them waits no longer.
_UNTIE = """
    UPDATE mailcache_mutation SET depends_on_id = NULL
    WHERE account_id = %(account)s AND depends_on_id IN (
        SELECT id FROM mailcache_mutation
        WHERE account_id = %(account)s AND (mailbox_id = %(mailbox)s OR target_id = %(mailbox)s))
"""

_REMOTES = "SELECT id FROM mailcache_remote WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s"

# Messages in other mailboxes that have nothing but what this one knows of them.
_COPIES_WITHOUT_BYTES = """
    SELECT message.id, message.mailbox_id
    FROM mailcache_remote AS remote JOIN mailcache_message AS message ON message.remote_id = remote.id
    WHERE remote.account_id = %(account)s AND remote.mailbox_id = %(mailbox)s
      AND message.account_id = %(account)s AND message.mailbox_id <> %(mailbox)s
"""

# The ORM's cascade would read every row before it deletes it; these tables are large.
_DELETE_ROWS = """
    WITH mutation AS (DELETE FROM mailcache_mutation
                      WHERE account_id = %(account)s AND (mailbox_id = %(mailbox)s OR target_id = %(mailbox)s)),
         listing AS (DELETE FROM mailcache_listing WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s),
         message AS (DELETE FROM mailcache_message WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s),
         remote AS (DELETE FROM mailcache_remote WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s)
    DELETE FROM mailcache_change WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s
"""

# A mailbox goes when complete LIST answers this far apart did not name it (field notes: partial LIST answers).
_GONE_AFTER = timedelta(seconds=30)
# The same where more than half of this many or more mailboxes are missing at once.
_MANY = 4
_MANY_GONE_AFTER = timedelta(minutes=10)
_BRINGS_MAIL = (*CREATORS, MutationKind.LABEL)
_NOTICE = "The upstream no longer lists"
_NO_RENAMES: Mapping[int, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class UpstreamMailbox:
    """One mailbox as the upstream lists it, and the name that it has here."""

    upstream_name: bytes
    name: str
    delimiter: str
    selectable: bool
    role: MailboxRole
    mailbox_id: str = ""
    personal: bool = True
    subscribed: bool = True


@dataclass(frozen=True, slots=True)
class MailboxListChanges:
    """How many mailboxes a LIST created, changed, and deleted."""

    created: int
    changed: int
    deleted: int


@transaction.atomic
def ingest_mailbox_list(
    *,
    fence: Fence,
    listed: Sequence[UpstreamMailbox],
    renamed: Mapping[int, bytes] = _NO_RENAMES,
    settlements: int | None = None,
) -> MailboxListChanges:
    """Bring the account's mailboxes in step with one complete LIST answer.

    ``renamed`` has the upstream's new names of mailboxes that were renamed there; they keep everything else. An answer
    without INBOX cannot be complete and deletes nothing. A mailbox that can no longer be selected is treated as one
    that is not listed. Two upstream names that would be one name here (spellings that differ in case only for INBOX,
    say) keep the first. Mailboxes that clients have deleted here do not come back. Raises ``StaleList`` where a change
    of names has settled after ``settlements`` was read, before the LIST.
    """
    leases.check(fence)
    # As everybody locks it: rows that refer to the account can be written meanwhile, whose writers hold mailboxes.
    account = Account.objects.select_for_update(no_key=True).get(pk=fence.account_id)
    if settlements is not None and is_list_stale(account_id=account.pk, settlements=settlements):
        raise StaleList("a mailbox was created, deleted or renamed upstream while the list was being read")
    entries = {entry.upstream_name: entry for entry in listed}
    found, missing = _match(account, entries, renamed)
    gone = _note_missing(account, missing, of=len(found) + len(missing)) if _is_complete(listed) else []
    held_names = {bytes(mailbox.upstream_name or b"") for mailbox in missing if mailbox not in gone}
    _put_off(found, held_names)
    changed = _rename(account, {mailbox.pk: entries[name] for name, mailbox in found.items() if mailbox.pk in renamed})
    changed += _link_created(account, entries, found)
    taken = set(Mailbox.objects.present(account.pk).values_list("name", flat=True))
    kept_away = held_names | _deleted_here(account)
    created = 0
    for name, entry in entries.items():
        if name in found:
            changed += _update(found[name], entry)
        elif entry.name not in taken and name not in kept_away:
            taken.add(entry.name)
            _create(account, entry)
            created += 1
    account.save(update_fields=["last_uidvalidity", "notice"])
    return MailboxListChanges(created, changed, len(gone))


def _match(
    account: Account, entries: Mapping[bytes, UpstreamMailbox], renamed: Mapping[int, bytes]
) -> tuple[dict[bytes, Mailbox], list[Mailbox]]:
    """Return the mailboxes that are listed, by the upstream's present name, and those that are not."""
    # All are locked, those that are only here as well: what goes may take messages of theirs along.
    rows = list(Mailbox.objects.filter(account=account).select_for_update(no_key=True).order_by("pk"))
    mirrored = [row for row in rows if row.upstream_name is not None and row.deleted_at is None]
    found: dict[bytes, Mailbox] = {}
    missing = []
    for mailbox in sorted(mirrored, key=lambda row: row.pk not in renamed):
        name = renamed.get(mailbox.pk, bytes(mailbox.upstream_name or b""))
        entry = entries.get(name)
        if entry is None or name in found or (mailbox.selectable and not entry.selectable):
            missing.append(mailbox)
        else:
            found[name] = mailbox
    return found, missing


def _deleted_here(account: Account) -> set[bytes]:
    """Return the upstream's names of mailboxes that clients have deleted and that are still there."""
    rows = Mailbox.objects.filter(account=account, deleted_at__isnull=False, upstream_name__isnull=False)
    return {bytes(name or b"") for name in rows.values_list("upstream_name", flat=True)}


def _link_created(account: Account, entries: Mapping[bytes, UpstreamMailbox], found: dict[bytes, Mailbox]) -> int:
    """Recognise mailboxes that clients have created here and that are there now, by whomever; returns how many.

    They are there under the names that they are created with, whatever became of them here since then.
    """
    creates = Mutation.objects.unsettled(account.pk).filter(kind=MutationKind.CREATE, mailbox__upstream_name=None)
    waiting = {row.arguments["name"]: row.mailbox for row in creates.select_related("mailbox")}
    others = Mailbox.objects.present(account.pk).filter(upstream_name=None)
    here = {row.name: row for row in others.exclude(pk__in=[row.pk for row in waiting.values() if row is not None])}
    here |= {name: row for name, row in waiting.items() if row is not None}
    linked = 0
    # One that was deleted here and is created again is still there as what it was before.
    taken = found.keys() | _deleted_here(account)
    for name, entry in entries.items():
        mailbox = here.pop(entry.name, None) if name not in taken and entry.selectable else None
        if mailbox is not None:
            mailbox.upstream_name, mailbox.upstream_delimiter = name, entry.delimiter
            mailbox.save(update_fields=["upstream_name", "upstream_delimiter"])
            found[name] = mailbox
            linked += 1
    return linked


def _put_off(found: dict[bytes, Mailbox], held_names: Collection[bytes]) -> None:
    """Leave mailboxes alone that have a name now of which another one is not yet believed to be gone."""
    waiting = [found.pop(name) for name in held_names if name in found]
    Mailbox.objects.filter(pk__in=[mailbox.pk for mailbox in waiting]).update(missed_lists=F("missed_lists") + 1)


def _is_complete(listed: Sequence[UpstreamMailbox]) -> bool:
    return any(entry.name == INBOX for entry in listed)


def next_uidvalidity(account: Account) -> int:
    """Return a UIDVALIDITY that no mailbox of this (locked) account ever had; the caller saves the account."""
    account.last_uidvalidity = max(account.last_uidvalidity + 1, int(timezone.now().timestamp()))
    return account.last_uidvalidity


def _create(account: Account, entry: UpstreamMailbox) -> None:
    Mailbox.objects.create(
        account=account,
        name=entry.name,
        selectable=entry.selectable,
        subscribed=entry.subscribed,
        role=entry.role,
        personal=entry.personal,
        uidvalidity=next_uidvalidity(account),
        upstream_name=entry.upstream_name,
        upstream_delimiter=entry.delimiter,
        upstream_mailbox_id=entry.mailbox_id,
    )


def _update(mailbox: Mailbox, entry: UpstreamMailbox) -> bool:
    after = {
        "selectable": entry.selectable,
        "role": str(entry.role),
        "upstream_delimiter": entry.delimiter,
        "upstream_mailbox_id": entry.mailbox_id or mailbox.upstream_mailbox_id,
        "missed_lists": 0,
        "missed_since": None,
    }
    if all(getattr(mailbox, name) == value for name, value in after.items()):
        return False
    Mailbox.objects.filter(pk=mailbox.pk).update(**after)
    return True


def _rename(account: Account, entries: Mapping[int, UpstreamMailbox]) -> int:
    """Give mailboxes their new names, also where they swap them; returns how many.

    One whose name is still held by another mailbox here keeps its own.
    """
    if not entries:
        return 0
    renaming = set(_renamed_here(account))
    renamed = Mailbox.objects.filter(account=account, pk__in=entries)
    others = Mailbox.objects.filter(account=account).exclude(pk__in=entries)
    taken = set(others.values_list("name", flat=True))
    before = dict(renamed.values_list("pk", "name"))
    # No name of ours holds a control character, and NULL is not unique.
    renamed.update(name=Concat(Value("\x01"), Cast("pk", CharField())), upstream_name=None)
    for pk, entry in entries.items():
        name = merged_name(before[pk], entry.name, renamed_here=pk in renaming, is_taken=entry.name in taken)
        renamed.filter(pk=pk).update(name=name, upstream_name=entry.upstream_name, personal=entry.personal)
    return len(entries)


def _renamed_here(account: Account) -> QuerySet[Mutation, int | None]:
    unsettled = Mutation.objects.unsettled(account.pk).filter(kind=MutationKind.RENAME)
    return unsettled.values_list("mailbox_id", flat=True)


def _note_missing(account: Account, missing: Sequence[Mailbox], *, of: int) -> list[Mailbox]:
    """Count one more LIST without these mailboxes; deletes and returns those that are believed to be gone."""
    now = timezone.now()
    many = of >= _MANY and 2 * len(missing) > of
    patience = _MANY_GONE_AFTER if many else _GONE_AFTER
    gone = [mailbox for mailbox in missing if mailbox.missed_since and now - mailbox.missed_since >= patience]
    for mailbox in gone:
        if _has_unsent_mail(mailbox):
            _create_again(mailbox)
        else:
            delete_mailbox_rows(mailbox)
    waiting = [mailbox for mailbox in missing if mailbox not in gone]
    Mailbox.objects.filter(pk__in=[mailbox.pk for mailbox in waiting]).update(
        missed_lists=F("missed_lists") + 1, missed_since=Coalesce("missed_since", Value(now))
    )
    if many and waiting:
        account.notice = (
            f"{_NOTICE} {len(missing)} of {of} mailboxes; they are kept until it has said so for 10 minutes."
        )
    elif account.notice.startswith(_NOTICE):
        account.notice = ""
    return gone


def _has_unsent_mail(mailbox: Mailbox) -> bool:
    """True when clients have put mail into it that the upstream does not have."""
    return Mutation.objects.unsettled(mailbox.account_id).filter(target=mailbox, kind__in=_BRINGS_MAIL).exists()


def _create_again(mailbox: Mailbox) -> None:
    """Keep a mailbox that is gone upstream for the mail that was put into it here, and have it created there again."""
    remotes = Remote.objects.filter(account_id=mailbox.account_id, mailbox=mailbox).count()
    remove_own_messages(mailbox_id=mailbox.pk, limit=remotes)
    Mailbox.objects.filter(pk=mailbox.pk).update(
        upstream_name=None, upstream_uidvalidity=None, upstream_mailbox_id="", missed_lists=0, missed_since=None
    )
    # It gets the name that it has here at once.
    Mutation.objects.unsettled(mailbox.account_id).filter(mailbox=mailbox, kind=MutationKind.RENAME).delete()
    create = NewMutation(arguments={"name": mailbox.name, "role": mailbox.role})
    queue_mutations(account_id=mailbox.account_id, kind=MutationKind.CREATE, mailbox_id=mailbox.pk, rows=[create])


def delete_mailbox_rows(mailbox: Mailbox) -> None:
    """Delete a mailbox and everything in it, in the caller's transaction. Content stays for the collector."""
    with_locks([mailbox.pk], partial(_delete_rows, mailbox))


def _delete_rows(mailbox: Mailbox, locks: Locks) -> None:
    rows = {"account": mailbox.account_id, "mailbox": mailbox.pk}
    remotes = [remote for (remote,) in fetch_all(_REMOTES, rows)]
    copies = fetch_all(_COPIES_WITHOUT_BYTES, rows)
    locks.require([mailbox_id for _, mailbox_id in copies])
    followed = let_go_of(account_id=mailbox.account_id, remote_ids=remotes)
    locks.require(followed.values())
    remove_messages_here(mailbox.account_id, [message_id for message_id, _ in copies])
    transfers = [change.value for change in rescued_by(Event.SOURCE_DELETED)]
    settled = MutationState.SETTLED.value
    execute(_MOVED_OUT, {**rows, "copy": MutationKind.COPY.value, "transfers": transfers, "settled": settled})
    execute(_UNTIE, rows)
    execute(_MOVED, rows)
    execute(_DELETE_ROWS, rows)
    mailbox.delete()
    show_followed(account_id=mailbox.account_id, followed=followed)
