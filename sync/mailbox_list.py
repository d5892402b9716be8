"""The list of mailboxes: from the upstream's LIST to ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailcache.errors import StaleList
from mailcache.models import Mailbox, MailboxRole
from mailcache.names import INBOX
from mailcache.services.ingest_list import UpstreamMailbox, ingest_mailbox_list
from mailcache.services.overlay import settlements_of
from mailcache.services.settlement import purge_settled_names
from sync.errors import IncompleteAnswer, NoInbox
from sync.label_mailboxes import take_over_labels, with_hidden
from sync.mailbox_roles import Listed, assign_roles
from sync.namespaces import Place, places_of
from sync.rename_detection import find_renames
from sync.services.runs import note_listed
from sync.upstream.values import ListedMailbox, Namespaces
from sync.work import SliceWork

_TRIES = 3
_UNSELECTABLE = frozenset({"\\Noselect", "\\NonExistent"})


def refresh_mailbox_list(work: SliceWork) -> None:
    """Take over which mailboxes the upstream has; raises ``NoInbox`` for a list that cannot be complete.

    Mirrored is what ``LIST "" *`` names: other users' and shared mailboxes where the upstream lists them there. What
    it tells of their messages is left in ``work.statuses``. A list that our own change of names has overtaken is read
    again.
    """
    for _ in range(_TRIES):
        try:
            _refresh(work)
        except StaleList:
            continue
        return
    raise IncompleteAnswer("mailboxes are being created, deleted or renamed here all the time")


def _refresh(work: SliceWork) -> None:
    settlements = settlements_of(work.account.pk)
    told = work.upstream.client.list_mailboxes(status=True)
    if not any(entry.name.upper() == INBOX for entry in told):
        raise NoInbox("the upstream's list of mailboxes has no INBOX")
    entries = with_hidden(work, told)
    mailboxes = list(Mailbox.objects.mirrored(work.account.pk))
    renamed = find_renames(work, mailboxes, entries)
    places = _places(work, mailboxes, entries, renamed)
    ingest_mailbox_list(fence=work.fence, listed=describe(entries, places), renamed=renamed, settlements=settlements)
    purge_settled_names(fence=work.fence, settlements=settlements)
    take_over_labels(work, told, settlements=settlements)
    note_listed(fence=work.fence, run=work.run)
    _keep_statuses(work, entries)


def describe(entries: Sequence[ListedMailbox], places: Mapping[bytes, Place]) -> list[UpstreamMailbox]:
    """Return LIST entries with the names and roles that they have here."""
    roles = assign_roles([_listed(entry, places[entry.name_raw]) for entry in entries])
    tells_subscriptions = any("\\Subscribed" in entry.attributes for entry in entries)
    return [
        UpstreamMailbox(
            upstream_name=entry.name_raw,
            name=places[entry.name_raw].name,
            delimiter=entry.delimiter or "",
            selectable=_is_selectable(entry),
            role=MailboxRole(roles.get(places[entry.name_raw].name, "")),
            mailbox_id=(entry.status and entry.status.mailbox_id) or "",
            personal=places[entry.name_raw].personal,
            subscribed=not tells_subscriptions or "\\Subscribed" in entry.attributes,
        )
        for entry in entries
    ]


def _places(
    work: SliceWork, mailboxes: Sequence[Mailbox], entries: Sequence[ListedMailbox], renamed: Mapping[int, bytes]
) -> dict[bytes, Place]:
    """Return where listed mailboxes stand: those known where they are, new names by the upstream's namespaces."""
    known = {
        bytes(mailbox.upstream_name or b""): Place(mailbox.name, mailbox.personal)
        for mailbox in mailboxes
        if mailbox.pk not in renamed
    }
    new = [entry for entry in entries if entry.name_raw not in known]
    # Asked only where it is needed, so that an account in which nothing is new costs one command.
    namespaces = work.upstream.client.namespaces() if new else Namespaces()
    taken = {place.name for place in known.values()}
    return known | places_of(new, namespaces, taken=taken)


def _listed(entry: ListedMailbox, place: Place) -> Listed:
    return Listed(place.name, entry.attributes, may_have_role=place.personal and _is_selectable(entry))


def _is_selectable(entry: ListedMailbox) -> bool:
    return not entry.attributes & _UNSELECTABLE


def _keep_statuses(work: SliceWork, entries: Sequence[ListedMailbox]) -> None:
    statuses = {entry.name_raw: entry.status for entry in entries if entry.status is not None}
    for mailbox_id, name in Mailbox.objects.mirrored(work.account.pk).values_list("pk", "upstream_name"):
        if (status := statuses.get(bytes(name or b""))) is not None:
            work.statuses[mailbox_id] = status
