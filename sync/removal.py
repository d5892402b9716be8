"""Taking over that messages are gone upstream, unless they are so many that this has to be seen twice."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.utils import timezone

from mailcache.models import Mailbox, Remote
from mailcache.services.ingest_expunge import remove_messages, remove_other_uidvalidities
from sync import guards, planner
from sync.models import Checkpoint
from sync.services.checkpoints import first_sight
from sync.tiers import UpstreamState
from sync.work import SliceWork


def remove_gone(
    work: SliceWork, mailbox: Mailbox, before: Checkpoint, state: UpstreamState, gone: Sequence[int], *, held: int
) -> Sequence[int]:
    """Remove messages that are gone, and those that no message of the present numbering took over.

    ``held`` is how many were here before the comparison. Returns the UIDs of a mass deletion that is held back.
    """
    leftovers = _other_numberings(mailbox, state.uidvalidity)
    uids = [*gone, *leftovers]
    share = settings.MASS_DELETION_SHARE
    if guards.is_mass_deletion(gone=len(uids), held=held, exists=state.exists, share=share):
        seen_before = guards.is_second_sight(
            first_sight(before), uids, now=timezone.now(), connected_at=work.upstream.connected_at
        )
        if not seen_before and not before.gone_confirmed:
            return uids
    for chunk in planner.chunks(gone):
        work.counters.messages_removed += remove_messages(
            fence=work.fence, mailbox_id=mailbox.pk, uidvalidity=state.uidvalidity, uids=chunk
        )
        work.pause_point()
    for _ in planner.chunks(leftovers):
        work.counters.messages_removed += remove_other_uidvalidities(
            fence=work.fence, mailbox_id=mailbox.pk, uidvalidity=state.uidvalidity
        )
        work.pause_point()
    return ()


def _other_numberings(mailbox: Mailbox, uidvalidity: int) -> list[int]:
    rows = Remote.objects.filter(account_id=mailbox.account_id, mailbox_id=mailbox.pk)
    return list(rows.exclude(uidvalidity=uidvalidity).values_list("uid", flat=True))
