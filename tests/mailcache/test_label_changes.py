"""Changes of labels that wait or have settled, and reads of the upstream that may not contain them yet."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from mailcache.flags import FlagSet
from mailcache.models import LeaseKind, Mailbox, MailboxRole, Message, Mutation, MutationState, Remote
from mailcache.services import leases
from mailcache.services.ingest_expunge import remove_messages
from mailcache.services.ingest_list import ingest_mailbox_list
from mailcache.services.ingest_skeleton import SkeletonRow, add_messages
from mailcache.services.labels import apply_labels, set_labels
from mailcache.services.overlay import settlements_of
from mailcache.services.settle_labels import settle_labels
from mailcache.services.settlement import purge_settled
from mailcache.services.transfer import copy_messages, move_messages
from mailcache.wire.number_set import NumberSet
from tests.builders import (
    INTERNAL_DATE,
    UIDVALIDITY,
    add_bodies,
    add_skeleton,
    make_account,
    make_fence,
    message_bytes,
    skeleton_row,
    upstream_mailbox,
)
from tests.mailcache.rows import check_consistency, uids_of

pytestmark = pytest.mark.django_db

ONE = NumberSet.parse("1")


class Labelled:
    """An account with one message in All Mail that INBOX shows."""

    def __init__(self) -> None:
        self.account = make_account()
        self.fence = make_fence(self.account)
        roles = {"INBOX": MailboxRole.INBOX, "Work": MailboxRole.NONE, "All": MailboxRole.ALL}
        ingest_mailbox_list(fence=self.fence, listed=[upstream_mailbox(*pair) for pair in roles.items()])
        set_labels(fence=self.fence, labels={b"INBOX": "\\Inbox", b"Work": "Work"})
        self.inbox, self.work, self.all = Mailbox.objects.mirrored(self.account.pk).order_by("pk")
        Mailbox.objects.filter(pk=self.all.pk).update(upstream_uidvalidity=UIDVALIDITY)
        row = SkeletonRow(1, FlagSet(), INTERNAL_DATE, 100, "1", labels=("\\Inbox",))
        add_messages(fence=self.fence, mailbox_id=self.all.pk, uidvalidity=UIDVALIDITY, rows=[row])

    def move(self) -> None:
        """Move the message from INBOX to Work."""
        move_messages(user_id=self.account.user_id, mailbox_id=self.inbox.pk, target_id=self.work.pk, uids=ONE)

    def replay(self) -> None:
        """Settle what was queued, as replay does."""
        fence = leases.acquire(account_id=self.account.pk, kind=LeaseKind.REPLAY, holder="test")
        assert fence is not None
        for mutation in Mutation.objects.select_related("target").order_by("pk"):
            assert mutation.target is not None
            settle_labels(fence=fence, ids=[mutation.pk], label=mutation.target.label, added=mutation.kind == "label")
        leases.release(fence)

    def read(self, labels: Collection[str], settlements: int) -> None:
        """Take over a read of All Mail that began when so much had settled."""
        apply_labels(
            fence=self.fence,
            source_mailbox_id=self.all.pk,
            uidvalidity=UIDVALIDITY,
            labels={1: labels},
            settlements=settlements,
        )
        purge_settled(fence=self.fence, mailbox_id=self.all.pk, settlements=settlements)

    def shown(self) -> tuple[int, int, int]:
        """Return how many messages INBOX, Work and All Mail show; their journals must tell the same."""
        for mailbox in (self.inbox, self.work, self.all):
            check_consistency(mailbox)
        return len(uids_of(self.inbox)), len(uids_of(self.work)), len(uids_of(self.all))


def test_a_read_from_before_the_settlement_undoes_nothing() -> None:
    labelled = Labelled()
    labelled.move()
    assert labelled.shown() == (0, 1, 1)
    before = settlements_of(labelled.account.pk)
    labelled.replay()
    assert Remote.objects.get().labels == ["Work"]
    labelled.read(["\\Inbox"], before)
    assert labelled.shown() == (0, 1, 1)
    assert set(Mutation.objects.values_list("state", flat=True)) == {MutationState.SETTLED}
    labelled.read(["Work"], settlements_of(labelled.account.pk))
    assert labelled.shown() == (0, 1, 1)
    assert not Mutation.objects.exists()


def test_a_read_from_after_the_settlement_is_believed() -> None:
    labelled = Labelled()
    labelled.move()
    labelled.replay()
    # Somebody has put it back since.
    labelled.read(["\\Inbox"], settlements_of(labelled.account.pk))
    assert labelled.shown() == (1, 0, 1)
    assert not Mutation.objects.exists()


def test_what_waits_lies_on_top_of_every_read() -> None:
    labelled = Labelled()
    labelled.move()
    labelled.read(["\\Inbox"], settlements_of(labelled.account.pk))
    assert labelled.shown() == (0, 1, 1)
    assert Remote.objects.get().labels == ["\\Inbox"]
    labelled.read([], settlements_of(labelled.account.pk))
    assert labelled.shown() == (0, 1, 1)


def test_a_copy_shares_the_upstream_message() -> None:
    labelled = Labelled()
    user, source, target = labelled.account.user_id, labelled.inbox.pk, labelled.work.pk
    first = copy_messages(user_id=user, mailbox_id=source, target_id=target, uids=ONE)
    again = copy_messages(user_id=user, mailbox_id=source, target_id=target, uids=ONE)
    assert first.target_uids == again.target_uids
    assert labelled.shown() == (1, 1, 1)
    assert Mutation.objects.count() == 1
    assert set(Message.objects.values_list("remote_id", flat=True)) == {Remote.objects.get().pk}


def test_what_is_taken_out_of_the_trash_keeps_its_label_though_its_source_goes() -> None:
    labelled = Labelled()
    listed = [upstream_mailbox("INBOX", MailboxRole.INBOX), upstream_mailbox("Work")]
    listed += [upstream_mailbox("All", MailboxRole.ALL), upstream_mailbox("Trash", MailboxRole.TRASH)]
    ingest_mailbox_list(fence=labelled.fence, listed=listed)
    trash = Mailbox.objects.get(role=MailboxRole.TRASH)
    add_skeleton(labelled.fence, trash, [skeleton_row(1, size=len(data := message_bytes()), upstream_id="2")])
    user = labelled.account.user_id
    copied = copy_messages(user_id=user, mailbox_id=trash.pk, target_id=labelled.work.pk, uids=ONE)
    add_bodies(labelled.fence, trash, {1: data})
    assert remove_messages(fence=labelled.fence, mailbox_id=trash.pk, uidvalidity=UIDVALIDITY, uids=[1]) == 1
    assert uids_of(labelled.work) == list(copied.target_uids)
    assert labelled.shown() == (1, 1, 2)
