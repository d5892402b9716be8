"""Opening a mailbox to compare it, also one whose upstream numbers its messages badly (quirks 38, 41)."""

from __future__ import annotations

from collections.abc import Iterable

from mailcache.models import Mailbox, Message, Remote
from sync import guards
from sync.errors import IncompleteAnswer
from sync.tiers import UpstreamState
from sync.upstream.values import FetchedMessage, Resync, SelectedMailbox
from sync.work import SliceWork

_SAMPLE_ITEMS = b"(INTERNALDATE RFC822.SIZE)"
_FIRST_UIDVALIDITY = 1


def open_mailbox(
    work: SliceWork, mailbox: Mailbox, *, resync: Resync | None = None
) -> tuple[SelectedMailbox, UpstreamState]:
    """Open a mailbox to read; returns what the upstream said, and that with what it left out."""
    selected = work.upstream.examine(bytes(mailbox.upstream_name or b""), resync=resync)
    state = UpstreamState(
        uidvalidity=selected.uidvalidity or _uidvalidity(work, mailbox),
        uidnext=selected.uidnext or _uidnext(work, selected.exists),
        highestmodseq=selected.highestmodseq,
        exists=selected.exists,
    )
    return selected, state


def reopen_mailbox(work: SliceWork, mailbox: Mailbox, uidvalidity: int | None) -> None:
    """Have a mailbox open that was compared before, unless it is: whatever names UIDs calls this first.

    Another mailbox may have been opened since, which has messages of the same UIDs. Raises ``IncompleteAnswer`` where
    it was given other numbers than ``uidvalidity``.
    """
    name = bytes(mailbox.upstream_name or b"")
    if work.upstream.is_open(name):
        return
    selected = work.upstream.examine(name)
    # One that tells none was looked at when its messages were compared (quirk 41).
    if selected.uidvalidity and selected.uidvalidity != uidvalidity:
        raise IncompleteAnswer("the mailbox was renumbered (UIDVALIDITY) while its messages were being fetched")


def uids_here(mailbox: Mailbox, uidvalidity: int) -> Iterable[int]:
    """Return the upstream UIDs known here under one UIDVALIDITY, ascending, without holding their rows."""
    rows = Remote.objects.numbered(mailbox.account_id, mailbox.pk, uidvalidity)
    return rows.order_by("uid").values_list("uid", flat=True).iterator(chunk_size=10_000)


def _uidnext(work: SliceWork, exists: int) -> int | None:
    """Return what follows the last UID, for an upstream that tells no UIDNEXT."""
    if not exists:
        return None
    uids: list[int] = []

    def collect(message: FetchedMessage) -> None:
        if message.uid is not None:
            uids.append(message.uid)

    work.upstream.client.uid_fetch_set(b"*", b"(UID)", on_message=collect)
    return max(uids) + 1 if uids else None


def _uidvalidity(work: SliceWork, mailbox: Mailbox) -> int:
    """Return the numbering of an upstream that tells none (quirk 41).

    It is the one that is known, as long as UIDs that are known name the same messages.
    """
    present = mailbox.upstream_uidvalidity
    if present is None:
        return _FIRST_UIDVALIDITY
    uids = guards.sample(list(uids_here(mailbox, present)))
    return present if _are_the_same(work, mailbox, present, uids) else present + 1


def _are_the_same(work: SliceWork, mailbox: Mailbox, uidvalidity: int, uids: list[int]) -> bool:
    told: dict[int, FetchedMessage] = {}

    def collect(message: FetchedMessage) -> None:
        told[message.uid or 0] = message

    if uids:
        work.upstream.client.uid_fetch(uids, _SAMPLE_ITEMS, on_message=collect)
    exact = work.upstream.profile.exact_sizes
    rows = Message.objects.filter(
        account_id=mailbox.account_id,
        mailbox_id=mailbox.pk,
        remote__uidvalidity=uidvalidity,
        remote__uid__in=list(told),
    )
    for uid, date, size in rows.values_list("remote__uid", "internal_date", "size"):
        message = told[uid]
        if message.internal_date is not None and message.internal_date != date:
            return False
        if exact and message.size is not None and message.size != size:
            return False
    return True
