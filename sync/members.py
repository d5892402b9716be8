"""Which messages of a mailbox are new and gone, found in the way that was planned; the new ones appear."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from mailcache.models import Mailbox, Remote
from sync import planner
from sync.errors import IncompleteAnswer
from sync.flags import SINCE_MESSAGES
from sync.gmail import searches, without_hidden
from sync.numbering import open_mailbox, uids_here
from sync.skeleton import Skeleton
from sync.tiers import FlagSource, Membership, Plan, UpstreamState
from sync.upstream.values import FetchedMessage, SelectedMailbox
from sync.work import SliceWork


class Members:
    """The messages of one mailbox. After ``settle`` the new ones are here, and those that are gone are known.

    ``kept`` are the UIDs that were here before and are still there, ascending. ``told`` is what was said of them on the
    way: their changed or recent flags, whichever were due; None where these have to be asked for.
    """

    def __init__(
        self, work: SliceWork, mailbox: Mailbox, state: UpstreamState, *, renumbered: bool, settlements: int
    ) -> None:
        self._work = work
        self._mailbox = mailbox
        self._state = state
        self._skeleton = Skeleton(work, mailbox, state.uidvalidity, renumbered=renumbered, settlements=settlements)
        self._here: Sequence[int] = array("L")
        self.kept: Sequence[int] = self._here
        self.gone: list[int] = []
        self.told: list[FetchedMessage] | None = None
        self.trouble = ""

    def settle(self, plan: Plan, selected: SelectedMailbox, *, recent: int = 0) -> None:
        """Add what is new, and find what is gone; ask for the ``recent`` newest others where that costs no command."""
        if plan.is_known:
            return
        self._load()
        if plan.membership is Membership.TOLD:
            self._take_told(selected)
        elif plan.membership is Membership.GROWN:
            self._take_grown(plan, recent)
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

    def _take_grown(self, plan: Plan, recent: int) -> None:
        profile = self._work.upstream.profile
        if plan.flags is FlagSource.SINCE and len(self._here) <= SINCE_MESSAGES and profile.wide_ranges:
            self.told = self._skeleton.add_grown(plan.new, since=plan.since)
        elif recent and profile.size_sweeps:
            self.told = self._skeleton.add_grown(plan.new, recent=self._here[-recent:])
        else:
            self._skeleton.add(plan.new)

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
        if self._work.profile.labels:
            self.gone = without_hidden(self.gone, [*difference.new, *difference.kept], self._state.exists)
        left_out = self._skeleton.add_listed(difference.new)
        # Those that went in the meantime are none.
        if left_out and (left_out := sorted(set(left_out) & set(self._list()))):
            self.trouble = f"FETCH leaves out {len(left_out)} messages that UID SEARCH names"

    def _list(self) -> list[int]:
        found: list[int] = []
        for criteria in searches(self._state.exists, self._state.uidnext):
            found += self._work.upstream.client.uid_search(criteria)
        return found

    def _complete_list(self) -> list[int]:
        """Return a list of UIDs that is complete; one that is not is asked for once more."""
        if not self._state.exists and not self._here:
            return []
        exists = self._state.exists
        uids = self._list()
        if not planner.is_complete(exists, uids):
            _, state = open_mailbox(self._work, self._mailbox)
            if state.uidvalidity != self._state.uidvalidity:
                raise IncompleteAnswer("the mailbox was renumbered (UIDVALIDITY) while it was being compared")
            exists = state.exists
            uids = self._list()
        if planner.is_complete(exists, uids):
            return uids
        raise IncompleteAnswer(f"EXAMINE says {exists} messages, UID SEARCH names {len(uids)}")
