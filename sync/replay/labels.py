"""Labels upstream (Gmail): one command for all messages of All Mail that get or lose the same label."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mailcache.models import Mailbox, Mutation, MutationKind, MutationState, ParkedCause
from mailcache.services.settle_labels import settle_labels
from sync.gmail import X_GM_EXT_1
from sync.replay.plan import Kind, Queued, Step
from sync.replay.present import Present, present
from sync.replay.store import READ_ONLY
from sync.replay.work import ReplayWork, batches, in_transactions
from sync.upstream.errors import CommandRefused

_NO_LABELS = "the upstream offers no labels (X-GM-EXT-1) on this connection"
_MOST = 10_000


def replay_labels(work: ReplayWork, step: Step) -> None:
    """Give messages a label, or take it from them: whichever clients did last. Doing it twice changes nothing."""
    mailbox, shown_in = work.mailbox(step.mailbox_id), work.mailbox(step.target_id)
    if not work.upstream.client.may(X_GM_EXT_1):
        work.fail(step.members, _NO_LABELS, parks=False)
        return
    selected = work.open(mailbox)
    if selected.read_only:
        work.park(step.members, READ_ONLY, ParkedCause.READ_ONLY)
        return
    found = present(work, mailbox, selected, step.members)
    for batch in batches(found.members, _MOST):
        work.pause_point()
        work.open(mailbox)
        _store(work, shown_in, found, batch, added=step.kind is Kind.LABEL)


def _store(work: ReplayWork, shown_in: Mailbox, found: Present, batch: Sequence[Queued], *, added: bool) -> None:
    try:
        work.pace()
        work.upstream.client.uid_store_label(
            sorted({found.uids[member.id] for member in batch}), shown_in.label, added=added
        )
    except CommandRefused as error:
        work.refused(batch, error)
        return
    _settle(work, shown_in, [member.id for member in batch], added=added)


def settle_given(work: ReplayWork, shown_in: Mailbox, creators: Collection[int]) -> None:
    """Settle the labels of messages that were appended to the label's own mailbox, and so have them."""
    remotes = Mutation.objects.filter(pk__in=creators, state=MutationState.SETTLED).values_list("remote_id", flat=True)
    rows = Mutation.objects.filter(
        account_id=work.account.pk,
        kind=MutationKind.LABEL,
        target=shown_in,
        state=MutationState.PENDING,
        remote_id__in=list(remotes),
    )
    ids = list(rows.order_by("pk").values_list("pk", flat=True))
    if ids:
        _settle(work, shown_in, ids, added=True)


def _settle(work: ReplayWork, shown_in: Mailbox, ids: Sequence[int], *, added: bool) -> None:
    for some in in_transactions(ids):
        settle_labels(fence=work.fence, ids=some, label=shown_in.label, added=added)
