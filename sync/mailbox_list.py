"""The list of mailboxes: from the upstream's LIST to ours."""

from __future__ import annotations

from collections.abc import Iterable

from mailcache.models import Mailbox, MailboxRole
from mailcache.names import INBOX, our_name
from mailcache.services.ingest_list import UpstreamMailbox, ingest_mailbox_list
from sync.errors import NoInbox
from sync.services.runs import note_listed
from sync.upstream.values import ListedMailbox
from sync.work import SliceWork

_ROLES = {
    "\\all": MailboxRole.ALL,
    "\\archive": MailboxRole.ARCHIVE,
    "\\drafts": MailboxRole.DRAFTS,
    "\\flagged": MailboxRole.FLAGGED,
    "\\junk": MailboxRole.JUNK,
    "\\sent": MailboxRole.SENT,
    "\\trash": MailboxRole.TRASH,
}
_UNSELECTABLE = frozenset({"\\noselect", "\\nonexistent"})


def refresh_mailbox_list(work: SliceWork) -> None:
    """Take over which mailboxes the upstream has; raises ``NoInbox`` for a list that cannot be complete."""
    entries = work.upstream.client.list_mailboxes(status=True)
    listed = [describe(entry) for entry in entries]
    if not any(entry.name == INBOX for entry in listed):
        raise NoInbox("the upstream's list of mailboxes has no INBOX")
    ingest_mailbox_list(fence=work.fence, listed=listed)
    note_listed(fence=work.fence, run=work.run)
    _keep_statuses(work, entries)


def _keep_statuses(work: SliceWork, entries: Iterable[ListedMailbox]) -> None:
    statuses = {entry.name_raw: entry.status for entry in entries if entry.status is not None}
    for mailbox_id, name in Mailbox.objects.mirrored(work.account.pk).values_list("pk", "upstream_name"):
        if (status := statuses.get(bytes(name or b""))) is not None:
            work.statuses[mailbox_id] = status


def describe(entry: ListedMailbox) -> UpstreamMailbox:
    """Return a LIST entry with the name and role that it has here."""
    attributes = {attribute.lower() for attribute in entry.attributes}
    name = our_name(entry.name, entry.delimiter or "")
    return UpstreamMailbox(
        upstream_name=entry.name_raw,
        name=name,
        delimiter=entry.delimiter or "",
        selectable=not attributes & _UNSELECTABLE,
        role=_role(name, attributes),
    )


def _role(name: str, attributes: set[str]) -> MailboxRole:
    if name == INBOX:
        return MailboxRole.INBOX
    return next((role for attribute, role in _ROLES.items() if attribute in attributes), MailboxRole.NONE)
