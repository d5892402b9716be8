"""Taking over that messages are gone upstream, unless they are so many that this has to be seen twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from mailcache.models import Mailbox, Remote
from mailcache.services.ingest_bodies import put_off_bodies
from mailcache.services.ingest_expunge import remove_messages, remove_other_uidvalidities
from mailcache.services.relink_contents import leftovers_of, relink_by_contents
from sync import guards, planner
from sync.models import Checkpoint
from sync.services.checkpoints import confirm_deletion, first_sight
from sync.tiers import UpstreamState
from sync.work import SliceWork

# The second sight is due long before.
_PUT_OFF = timedelta(minutes=5)


class Removal:
    """Removes from one mailbox what is gone upstream."""

    def __init__(self, work: SliceWork, mailbox: Mailbox, before: Checkpoint, state: UpstreamState) -> None:
        self._work = work
        self._mailbox = mailbox
        self._before = before
        self._state = state

    def take(self, gone: Sequence[int], *, held: int, complete: bool) -> Sequence[int]:
        """Remove messages that are gone, and those that no message of the present numbering took over.

        ``held`` is how many were here before the comparison. Unless it was ``complete`` a message that is left over
        from another numbering may be one that the upstream left out: it stays. Returns the UIDs of a mass deletion
        that is held back.
        """
        leftovers = self._other_numberings() if complete and self._is_renumbered() else []
        uids = [*gone, *leftovers]
        if self._is_held_back(uids, held):
            self._put_off_bodies(gone)
            return uids
        for chunk in planner.chunks(gone):
            self._count(
                remove_messages(
                    fence=self._work.fence,
                    mailbox_id=self._mailbox.pk,
                    uidvalidity=self._state.uidvalidity,
                    uids=chunk,
                )
            )
        for _ in planner.chunks(leftovers):
            self._count(
                remove_other_uidvalidities(
                    fence=self._work.fence, mailbox_id=self._mailbox.pk, uidvalidity=self._state.uidvalidity
                )
            )
        return ()

    def _put_off_bodies(self, gone: Sequence[int]) -> None:
        """Ask for no bytes of messages that are gone, as it seems: that nothing comes would look like a fault."""
        until = timezone.now() + _PUT_OFF
        for chunk in planner.chunks(gone):
            put_off_bodies(
                fence=self._work.fence,
                mailbox_id=self._mailbox.pk,
                uidvalidity=self._state.uidvalidity,
                uids=chunk,
                until=until,
            )

    def _count(self, removed: int) -> None:
        self._work.counters.messages_removed += removed
        self._work.pause_point()

    def _is_held_back(self, uids: Sequence[int], held: int) -> bool:
        share = settings.MASS_DELETION_SHARE
        if not guards.is_mass_deletion(gone=len(uids), held=held, exists=self._state.exists, share=share):
            return False
        if self._before.gone_confirmed:
            return False
        first, now = first_sight(self._before), timezone.now()
        if not guards.is_second_sight(first, uids, now=now, connected_at=self._work.upstream.connected_at):
            return True
        # A slice that ends in the middle has removed some already: what is left need not be seen twice again.
        confirm_deletion(fence=self._work.fence, before=self._before)
        return False

    def _is_renumbered(self) -> bool:
        rows = Remote.objects.filter(account_id=self._mailbox.account_id, mailbox_id=self._mailbox.pk)
        return rows.exclude(uidvalidity=self._state.uidvalidity).exists()

    def _other_numberings(self) -> list[int]:
        relink_what_came(self._work, self._mailbox.pk, self._state.uidvalidity)
        # Some may wait for bytes that this slice fetches.
        self._work.renumbered[self._mailbox.pk] = self._state.uidvalidity
        return leftovers_of(
            account_id=self._mailbox.account_id, mailbox_id=self._mailbox.pk, uidvalidity=self._state.uidvalidity
        )


def relink_what_came(work: SliceWork, mailbox_id: int, uidvalidity: int) -> None:
    """Have messages of an earlier numbering keep their UIDs where bytes have told which ones they are now."""
    while relink_by_contents(fence=work.fence, mailbox_id=mailbox_id, uidvalidity=uidvalidity):
        work.pause_point()
