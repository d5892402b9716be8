"""Which messages of a mailbox are new and gone, found in the way that was planned; the new ones appear."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from mailcache.models import Mailbox, Remote
from sync import planner
from sync.errors import IncompleteAnswer
from sync.numbering import open_mailbox, uids_here
from sync.skeleton import Skeleton
from sync.tiers import Membership, Plan, UpstreamState
from sync.upstream.values import SelectedMailbox
from sync.work import SliceWork


class Members:
    """The messages of one mailbox. After ``settle`` the new ones are here, and those that are gone are known.

    ``kept`` are the UIDs that were here before and are still there, ascending.
    """

    def __init__(self, work: SliceWork, mailbox: Mailbox, state: UpstreamState, *, renumbered: bool) -> None:
        self._work = work
        self._mailbox = mailbox
        self._state = state
        self._skeleton = Skeleton(work, mailbox, state.uidvalidity, renumbered=renumbered)
        self._here: Sequence[int] = array("L")
        self.kept: Sequence[int] = self._here
        self.gone: list[int] = []
        self.trouble = ""

    def settle(self, plan: Plan, selected: SelectedMailbox) -> None:
        """Add what is new, and find what is gone."""
        if plan.is_known:
            return
        self._load()
        if plan.membership is Membership.TOLD:
            self._take_told(selected)
        elif plan.membership is Membership.GROWN:
            self._skeleton.add(plan.new)
        if plan.membership is not Membership.SAME and (plan.membership is Membership.LISTED or not self._adds_up()):
            self._compare_lists()

    def _load(self) -> None:
        self._here = self.kept = array("L", uids_here(self._mailbox, self._state.uidvalidity))

    def _take_told(self, selected: SelectedMailbox) -> None:
        known = set(self._here)
        told = {message.uid for message in selected.changed if message.uid is not None}
        # VANISHED may name whole ranges of what never was.
        self.gone = [uid for uid in self._here if uid in selected.vanished]
        self.kept = planner.without(self._here, self.gone)
        self._skeleton.add(sorted(told - known))

    def _adds_up(self) -> bool:
        """Tell whether as many messages as the upstream has will be here; nothing else shows that none is missing."""
        if self.gone and not self._work.upstream.profile.trust_vanished:
            return False
        rows = Remote.objects.numbered(self._mailbox.account_id, self._mailbox.pk, self._state.uidvalidity)
        return rows.count() - len(self.gone) == self._state.exists

    def _compare_lists(self) -> None:
        self._load()
        difference = planner.compare_uids(self._complete_list(), self._here)
        self.kept, self.gone = difference.kept, difference.gone
        left_out = self._skeleton.add_listed(difference.new)
        # Those that went in the meantime are none.
        if left_out and (left_out := sorted(set(left_out) & set(self._work.upstream.client.uid_search()))):
            self.trouble = f"FETCH leaves out {len(left_out)} messages that UID SEARCH names"

    def _complete_list(self) -> list[int]:
        """Return a list of UIDs that is complete; one that is not is asked for once more."""
        if not self._state.exists and not self._here:
            return []
        exists = self._state.exists
        uids = self._work.upstream.client.uid_search()
        if not planner.is_complete(exists, uids):
            _, state = open_mailbox(self._work, self._mailbox)
            if state.uidvalidity != self._state.uidvalidity:
                raise IncompleteAnswer("the mailbox was renumbered (UIDVALIDITY) while it was being compared")
            exists = state.exists
            uids = self._work.upstream.client.uid_search()
        if planner.is_complete(exists, uids):
            return uids
        raise IncompleteAnswer(f"EXAMINE says {exists} messages, UID SEARCH names {len(uids)}")
