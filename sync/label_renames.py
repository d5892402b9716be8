"""Recognises label mailboxes that were renamed upstream: another one shows the same messages of All Mail."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mailcache.models import Mailbox, Message
from sync.gmail import may_be_renamed
from sync.upstream.errors import CommandRefused, Severity
from sync.upstream.values import FetchedMessage
from sync.work import SliceWork

_SAMPLE = 20
_ITEMS = b"(X-GM-MSGID)"


def find_label_renames(work: SliceWork, missing: Sequence[Mailbox], new: Sequence[bytes]) -> dict[int, bytes]:
    """Return the upstream's new names of label mailboxes that LIST no longer names, by our id.

    Three commands for each of ``new``, the names that LIST did not have before.
    """
    waiting = {mailbox.pk: mailbox for mailbox in missing if mailbox.label and mailbox.messages}
    renamed: dict[int, bytes] = {}
    for name in new:
        if not waiting:
            break
        exists, sample = _sample(work, name)
        found = [pk for pk, mailbox in waiting.items() if _shows(mailbox, exists, sample)]
        if len(found) == 1:
            renamed[found[0]] = name
            del waiting[found[0]]
    return renamed


def _sample(work: SliceWork, name: bytes) -> tuple[int, set[str]]:
    """Return how many messages a mailbox has upstream, and the ids of some of its newest."""
    ids: set[str] = set()

    def collect(message: FetchedMessage) -> None:
        if message.email_id is not None:
            ids.add(message.email_id)

    try:
        selected = work.upstream.examine(name)
        if selected.exists and selected.uidnext:
            newest = b"UID %d:*" % max(1, selected.uidnext - _SAMPLE)
            uids = work.upstream.client.uid_search(newest)
            work.upstream.client.uid_fetch(uids, _ITEMS, on_message=collect)
    except CommandRefused as error:
        if error.severity == Severity.ACCOUNT:
            raise
        return 0, set()
    return selected.exists, ids


def _shows(mailbox: Mailbox, exists: int, sample: Collection[str]) -> bool:
    shown = Message.objects.filter(
        account_id=mailbox.account_id, mailbox_id=mailbox.pk, remote__upstream_id__in=sample
    ).count()
    return may_be_renamed(here=mailbox.messages, there=exists, sampled=len(sample), shared=shown)
