"""Comparing one mailbox with the upstream: messages appear, change their flags, and go.

What to ask is planned by ``tiers``; here it is asked and taken over: new messages first, then flags, then what is gone,
so that a message that was moved is here before it goes. The checkpoint advances at the end, to the numbers that were
true before the first message was read: what arrives meanwhile is read the next time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from django.db.models import Count
from django.utils import timezone

from mailcache.models import Mailbox, Remote
from mailcache.services.overlay import first_unknown_uid, settlements_of, spared_uids
from mailcache.services.settlement import purge_settled
from sync import tiers
from sync.errors import RenumberedTooOften
from sync.flag_polling import RECENT_MESSAGES, FlagScope, scope_due
from sync.flags import FlagComparison
from sync.members import Members
from sync.numbering import open_mailbox
from sync.removal import Removal
from sync.services.checkpoints import (
    Finding,
    begin_full,
    begin_numbering,
    checkpoint_of,
    note_compared,
    note_flags_below,
    want_mailboxes,
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
        # What settles from now on may not be in what is read.
        self._settlements = settlements_of(mailbox.account_id)
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
        if self._before.highestmodseq and not state.highestmodseq:
            # EXAMINE may tell more.
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
        if before.uidvalidity != state.uidvalidity or mailbox.upstream_uidvalidity != state.uidvalidity:
            self._begin_numbering(state)
        plan = self._plan(state, resynced=selected.resynced)
        renumbered = self._others(state.uidvalidity) > 0
        members = Members(work, mailbox, state, renumbered=renumbered, settlements=self._settlements)
        scope = self._scope(plan)
        reached = self._reached(state, scope)
        leaves_out = self._leaves_out(state)
        members.settle(plan, selected, recent=RECENT_MESSAGES if scope is FlagScope.RECENT else 0)
        flags = FlagComparison(work, mailbox, settlements=self._settlements)
        self._compare_flags(flags, plan, selected, members, reached)
        removal = Removal(work, mailbox, before, state)
        spared = spared_uids(account_id=mailbox.account_id, mailbox_id=mailbox.pk, settlements=self._settlements)
        gone = [uid for uid in members.gone if uid not in spared]
        held_back = removal.take(gone, held=sum(self._held.values()), complete=not members.trouble)
        finding = Finding(self._agreed_scope(plan, members.kept), flags.changed, held_back, members.trouble)
        # What was left out is not as of any number: the last one at which all was here stays.
        modseq = None if leaves_out or self._leaves_out(state) else reached.highestmodseq
        numbers = replace(reached, highestmodseq=modseq)
        note_compared(fence=work.fence, before=before, state=numbers, compared_at=self._began, finding=finding)
        # Wanted again at once: the want of a change that was made after the cut counts as met by this comparison.
        lags = reached != state and not (held_back or members.trouble)
        # Expunged and still there: shown again.
        if purge_settled(fence=work.fence, mailbox_id=mailbox.pk, settlements=self._settlements) or lags:
            want_mailboxes(account_id=mailbox.account_id, mailbox_ids=[mailbox.pk])

    def _leaves_out(self, state: UpstreamState) -> bool:
        """Tell whether messages are not taken over because they may be ours, sent by a replay that has yet to find out.

        Nor is what is changed of them.
        """
        mailbox = self._mailbox
        uid = first_unknown_uid(account_id=mailbox.account_id, mailbox_id=mailbox.pk, uidvalidity=state.uidvalidity)
        return uid is not None

    def _known(self, uidvalidity: int | None) -> Known:
        before = self._before
        return Known(
            uidvalidity=before.uidvalidity,
            uidnext=before.uidnext,
            highestmodseq=before.highestmodseq,
            older_highestmodseq=before.older_highestmodseq,
            held=self._held.get(uidvalidity or 0, 0),
            doubtful=self._others(uidvalidity) > 0 or before.gone_seen_at is not None,
            full_wanted=before.full_wanted,
        )

    def _others(self, uidvalidity: int | None) -> int:
        """Return how many messages are known under another UIDVALIDITY."""
        return sum(count for numbering, count in self._held.items() if numbering != uidvalidity)

    def _plan(self, state: UpstreamState, *, resynced: bool = False) -> Plan:
        overlap = self._work.upstream.profile.overlap_modseq
        return tiers.plan(self._known(state.uidvalidity), state, resynced=resynced, overlap=overlap)

    def _begin_numbering(self, state: UpstreamState) -> None:
        held = self._held.get(state.uidvalidity, 0)
        if not begin_numbering(
            fence=self._work.fence, before=self._before, mailbox=self._mailbox, state=state, held=held
        ):
            raise RenumberedTooOften(
                "the upstream changes UIDVALIDITY again and again: the mailbox waits until it stops"
            )

    def _scope(self, plan: Plan) -> FlagScope:
        """Return whose flags have to be read one by one."""
        before = self._before
        if plan.flags is FlagSource.ALL:
            return FlagScope.ALL
        if plan.flags is not FlagSource.POLLED:
            return FlagScope.NONE
        return scope_due(
            now=self._began,
            recent_at=before.recent_flags_at,
            all_at=before.flags_compared_at,
            changed_at=before.flags_changed_at,
            stirred=before.wanted_at is not None or plan.membership is not Membership.SAME,
        )

    def _reached(self, state: UpstreamState, scope: FlagScope) -> UpstreamState:
        """Return the numbers that are true of all that is here after the comparison.

        Where the reading of all flags goes on after a cut, the flags above the cut are as old as its beginning. Without
        a HIGHESTMODSEQ of then, nothing tells what changed of them since.
        """
        before = self._before
        if scope is not FlagScope.ALL or before.flags_below is None:
            return state
        return replace(state, highestmodseq=before.flags_modseq)

    def _compare_flags(
        self, flags: FlagComparison, plan: Plan, selected: SelectedMailbox, members: Members, reached: UpstreamState
    ) -> None:
        """Take over changed flags of messages that were here before."""
        kept, scope = members.kept, self._scope(plan)
        if plan.flags is FlagSource.TOLD:
            flags.take(selected.changed)
        elif members.told is not None:
            flags.take(members.told)
        elif plan.flags is FlagSource.SINCE:
            flags.read_since(plan.since, kept)
        elif scope is FlagScope.RECENT:
            flags.read(kept[-RECENT_MESSAGES:])
        elif scope is FlagScope.ALL:
            below = self._before.flags_below
            on_read = partial(self._note_flags_below, reached.highestmodseq)
            flags.read([uid for uid in kept if below is None or uid < below], on_read=on_read)

    def _agreed_scope(self, plan: Plan, kept: Sequence[int]) -> FlagScope:
        """Return whose flags agree with the upstream's after they were compared."""
        scope = self._scope(plan)
        is_all = plan.flags is not FlagSource.POLLED or (scope is FlagScope.RECENT and len(kept) <= RECENT_MESSAGES)
        return FlagScope.ALL if is_all else scope

    def _note_flags_below(self, modseq: int | None, uid: int) -> None:
        note_flags_below(fence=self._work.fence, before=self._before, uid=uid, modseq=modseq)
        self._work.pause_point()
