"""Comparing one mailbox with the upstream: messages appear, change their flags, and go.

What to ask is planned by ``tiers``; here it is asked and taken over: new messages first, then flags, then what is gone,
so that a message that was moved is here before it goes. The checkpoint advances at the end, to the numbers that were
true before the first message was read: what arrives meanwhile is read the next time.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Count
from django.utils import timezone

from mailcache.models import Mailbox, Remote
from sync import tiers
from sync.errors import RenumberedTooOften
from sync.flag_polling import RECENT_MESSAGES, FlagScope, scope_due
from sync.flags import FlagComparison
from sync.members import Members
from sync.numbering import open_mailbox
from sync.removal import remove_gone
from sync.services.checkpoints import (
    Finding,
    begin_full,
    begin_numbering,
    checkpoint_of,
    note_compared,
    note_flags_below,
)
from sync.tiers import FlagSource, Known, Membership, Plan, UpstreamState
from sync.upstream.values import SelectedMailbox
from sync.work import SliceWork


def compare_mailbox(work: SliceWork, mailbox: Mailbox) -> None:
    """Bring the messages of one mailbox in step with the upstream, without their bytes.

    Raises ``UpstreamError``, and ``SliceOver`` at a commit point.
    """
    comparison = _Comparison(work, mailbox)
    if not comparison.is_settled_by_status():
        comparison.run()


class _Comparison:
    """One comparison of one mailbox."""

    def __init__(self, work: SliceWork, mailbox: Mailbox) -> None:
        self._work = work
        self._mailbox = mailbox
        self._began = max(timezone.now(), work.run.compare_since)
        self._before = checkpoint_of(fence=work.fence, mailbox_id=mailbox.pk)
        rows = Remote.objects.filter(account_id=mailbox.account_id, mailbox_id=mailbox.pk).order_by()
        self._held: dict[int, int] = dict(rows.values_list("uidvalidity").annotate(Count("pk")))

    def is_settled_by_status(self) -> bool:
        """Note the mailbox as compared where what LIST told of it proves that nothing happened."""
        work = self._work
        status = work.statuses.pop(self._mailbox.pk, None)
        state = None if status is None else tiers.state_of(status)
        # A want may be newer than the list.
        if state is None or self._before.wanted_at is not None or work.upstream.profile.select_to_read:
            return False
        if self._mailbox.upstream_uidvalidity != state.uidvalidity:
            return False
        plan = self._plan(state)
        if plan.membership is not Membership.SAME:
            return False
        is_same = plan.flags is FlagSource.SAME
        if not is_same and (plan.flags is not FlagSource.POLLED or self._scope(plan) is not FlagScope.NONE):
            return False
        finding = Finding(flags=FlagScope.ALL if is_same else FlagScope.NONE)
        note_compared(
            fence=work.fence, before=self._before, state=state, compared_at=work.run.compare_since, finding=finding
        )
        return True

    def run(self) -> None:
        """Compare, asking the upstream."""
        work, before, mailbox = self._work, self._before, self._mailbox
        if before.full_wanted and before.flags_compared_at is not None:
            begin_full(fence=work.fence, before=before)
        resync = tiers.resync_point(self._known(before.uidvalidity), overlap=work.upstream.profile.overlap_modseq)
        selected, state = open_mailbox(work, mailbox, resync=resync)
        renumbered = before.uidvalidity != state.uidvalidity or mailbox.upstream_uidvalidity != state.uidvalidity
        if renumbered:
            self._begin_numbering(state)
        plan = self._plan(state, resynced=selected.resynced and not renumbered)
        members = Members(work, mailbox, state)
        members.settle(plan, selected, others=self._others(state))
        scope, flags_changed = self._compare_flags(plan, selected, members.kept)
        held_back = remove_gone(
            work, mailbox, before, members.state, members.gone, held=sum(self._held.values()), others=self._others(state)
        )
