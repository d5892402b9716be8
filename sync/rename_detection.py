"""Recognises mailboxes that were renamed upstream, so that their messages, UIDs and bytes stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailcache.identity import Traits, sample_matches
from mailcache.mime.headers import first_values, parse_fields
from mailcache.mime.message_ids import first_message_id
from mailcache.models import Mailbox, Remote
from sync import renames
from sync.label_renames import find_label_renames
from sync.renames import Here, There
from sync.upstream.errors import CommandRefused, Severity
from sync.upstream.values import FetchedMessage, ListedMailbox, SelectedMailbox
from sync.work import SliceWork

_SAMPLE = 10
# Each costs a command; of more new mailboxes than these at once the rest is fetched as new.
_MOST_EXAMINED = 200
_ITEMS = b"(INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"


def find_renames(work: SliceWork, mailboxes: Sequence[Mailbox], listed: Sequence[ListedMailbox]) -> dict[int, bytes]:
    """Return the upstream's new names of mailboxes that LIST names differently than before.

    Asks the upstream only where a mailbox is missing in the list and another one is new, or where the list tells of one
    the UIDVALIDITY of another.
    """
    here = [_here(mailbox) for mailbox in mailboxes]
    there = [_there(entry) for entry in listed]
    renamed = renames.by_object_id(here, there)
    missing, new = renames.unexplained(here, there, renamed)
    selectable = {entry.name_raw for entry in listed if "\\Noselect" not in entry.attributes}
    labelled = {mailbox.pk: mailbox for mailbox in mailboxes if mailbox.label}
    unlisted = [labelled[mailbox.mailbox_id] for mailbox in missing if mailbox.mailbox_id in labelled]
    if unlisted and new:
        names = [entry.upstream_name for entry in new[:_MOST_EXAMINED] if entry.upstream_name in selectable]
        renamed |= find_label_renames(work, unlisted, names)
        missing, new = renames.unexplained(here, there, renamed)
    missing = [mailbox for mailbox in missing if mailbox.uidvalidity and mailbox.mailbox_id not in labelled]
    if missing and new:
        told = [_told(work, entry) for entry in new[:_MOST_EXAMINED] if entry.upstream_name in selectable]
        renamed |= renames.by_object_id(missing, told)
        for gone, found in renames.suspects(missing, told):
            if gone.mailbox_id not in renamed and _holds_the_same(work, gone, found):
                renamed[gone.mailbox_id] = found.upstream_name
    return renamed | _exchanged(work, here, [entry for entry in there if entry.upstream_name in selectable], renamed)


def _exchanged(
    work: SliceWork, here: Sequence[Here], there: Sequence[There], renamed: Mapping[int, bytes]
) -> dict[int, bytes]:
    suspected = renames.exchanged(here, there, renamed)
    pairs = [(gone, found) for gone, found in suspected if _holds_the_same(work, gone, found)]
    kept = renames.without_owners_left(pairs, here, renamed)
    return {gone.mailbox_id: found.upstream_name for gone, found in kept}


def _here(mailbox: Mailbox) -> Here:
    return Here(
        mailbox.pk,
        mailbox.name,
        bytes(mailbox.upstream_name or b""),
        mailbox.upstream_mailbox_id,
        mailbox.upstream_uidvalidity,
    )


def _there(entry: ListedMailbox) -> There:
    status = entry.status
    return There(entry.name_raw, (status and status.mailbox_id) or "", status.uidvalidity if status else None)


def _told(work: SliceWork, mailbox: There) -> There:
    """Return the mailbox with its UIDVALIDITY, asked for where LIST did not tell."""
    if mailbox.uidvalidity is not None:
        return mailbox
    selected = _examine(work, mailbox.upstream_name)
    if selected is None:
        return mailbox
    return mailbox._replace(object_id=selected.mailbox_id, uidvalidity=selected.uidvalidity)


def _holds_the_same(work: SliceWork, gone: Here, found: There) -> bool:
    """Tell whether some messages of the missing mailbox are in the new one, under the same UIDs."""
    selected = _examine(work, found.upstream_name)
    if selected is None or selected.uidvalidity != gone.uidvalidity:
        return False
    numbered = Remote.objects.numbered(work.account.pk, gone.mailbox_id, gone.uidvalidity or 0)
    newest = list(numbered.order_by("-uid").values_list("uid", flat=True)[:_SAMPLE])
    if not newest or not selected.exists:
        return not newest and not selected.exists
    upstream: dict[int, Traits] = {}

    def collect(message: FetchedMessage) -> None:
        traits = _traits(message)
        if message.uid is not None and traits is not None:
            upstream[message.uid] = traits

    work.upstream.client.uid_fetch(sorted(newest), _ITEMS, on_message=collect)
    return sample_matches(numbered.filter(uid__in=newest).traits(), upstream)


def _traits(message: FetchedMessage) -> Traits | None:
    header = next(iter(message.sections.values()), None)
    if message.size is None or message.internal_date is None or not isinstance(header, bytes):
        return None
    message_id = first_message_id(first_values(parse_fields(header)).get(b"message-id"))
    return Traits(message.size, message.internal_date, message_id=message_id or "")


def _examine(work: SliceWork, name: bytes) -> SelectedMailbox | None:
    try:
        return work.upstream.examine(name)
    except CommandRefused as error:
        if error.severity == Severity.ACCOUNT:
            raise
        return None
