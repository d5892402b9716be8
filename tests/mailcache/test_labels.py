"""Label mailboxes: messages of All Mail shown in several mailboxes share one Remote (field notes section 2, row 1)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import pytest

from mailcache.flags import FlagSet
from mailcache.models import Change, Listing, Mailbox, MailboxRole, Message, Mutation, Remote
from mailcache.services.flags import store_flags
from mailcache.services.ingest_expunge import remove_messages
from mailcache.services.ingest_flags import apply_upstream_flags
from mailcache.services.ingest_list import ingest_mailbox_list
from mailcache.services.ingest_skeleton import SkeletonRow, add_messages
from mailcache.services.label_adoption import split_off
from mailcache.services.labels import LabelChanges, apply_labels, remove_unlabelled, set_labels, show_label
from mailcache.services.leases import Fence
from mailcache.wire.number_set import NumberSet
from tests.builders import (
    INTERNAL_DATE,
    UIDVALIDITY,
    add_bodies,
    make_account,
    make_fence,
    message_bytes,
    upstream_mailbox,
)
from tests.mailcache.deltas import adding, removing

pytestmark = pytest.mark.django_db

LABELS = {b"INBOX": "\\Inbox", b"Work": "Work", b"Family": "Family"}


class Gmail(NamedTuple):
    """An account whose mailboxes are labels. All Mail comes neither first nor last in the order of locks."""

    fence: Fence
    user_id: int
    inbox: Mailbox
    work: Mailbox
    all: Mailbox
    family: Mailbox
    trash: Mailbox


@pytest.fixture
def gmail() -> Gmail:
    account = make_account()
    fence = make_fence(account)
    listed = [
        upstream_mailbox("INBOX", MailboxRole.INBOX),
        upstream_mailbox("Work"),
        upstream_mailbox("All Mail", MailboxRole.ALL),
        upstream_mailbox("Family"),
        upstream_mailbox("Trash", MailboxRole.TRASH),
    ]
    ingest_mailbox_list(fence=fence, listed=listed)
    set_labels(fence=fence, labels=LABELS)
    return Gmail(fence, account.user_id, *Mailbox.objects.mirrored(account.pk).order_by("pk"))


def row(uid: int, *labels: str, flags: Collection[str] = (), msgid: int | None = None) -> SkeletonRow:
    identity = str(msgid or 1000 + uid)
    return SkeletonRow(uid, FlagSet.parse(flags), INTERNAL_DATE, 100 + uid, upstream_id=identity, labels=labels)


def add(gmail: Gmail, *rows: SkeletonRow, mailbox: Mailbox | None = None) -> int:
    mailbox = mailbox or gmail.all
    Mailbox.objects.filter(pk=mailbox.pk).update(upstream_uidvalidity=UIDVALIDITY)
    return add_messages(fence=gmail.fence, mailbox_id=mailbox.pk, uidvalidity=UIDVALIDITY, rows=rows)


def label(gmail: Gmail, labels: Mapping[int, Collection[str]]) -> LabelChanges:
    return apply_labels(fence=gmail.fence, source_mailbox_id=gmail.all.pk, uidvalidity=UIDVALIDITY, labels=labels)


def shown(mailbox: Mailbox) -> dict[int, int]:
    """Upstream UID in All Mail by our UID."""
    return dict(Message.objects.filter(mailbox=mailbox).order_by("uid").values_list("uid", "remote__uid"))


def flags(mailbox: Mailbox) -> list[int]:
    return list(Message.objects.filter(mailbox=mailbox).order_by("uid").values_list("flags", flat=True))


def assert_counted(*mailboxes: Mailbox) -> None:
    """The counters and the journal agree with the messages."""
    for mailbox in mailboxes:
        mailbox.refresh_from_db()
        messages = list(Message.objects.filter(mailbox=mailbox))
        assert mailbox.messages == len(messages)
        assert mailbox.unseen == sum(not message.flags & 1 for message in messages)
        assert mailbox.bytes == sum(message.size for message in messages)
        assert mailbox.uidnext > max([message.uid for message in messages], default=0)
        here = NumberSet()
        for change in Change.objects.filter(mailbox=mailbox).order_by("modseq"):
            here = (here | NumberSet.parse(change.appeared)) - NumberSet.parse(change.expunged)
        assert here == NumberSet.from_numbers(message.uid for message in messages)


class TestAppearing:
    def test_new_messages_appear_in_all_their_mailboxes_with_one_remote(self, gmail: Gmail) -> None:
        assert add(gmail, row(5, "\\Inbox", "Work"), row(3, "\\Inbox"), row(9)) == 3
        assert shown(gmail.all) == {3: 3, 5: 5, 9: 9}
        assert shown(gmail.inbox) == {1: 3, 2: 5}
        assert shown(gmail.work) == {1: 5}
        assert Remote.objects.count() == Listing.objects.count() == 3
        assert_counted(gmail.inbox, gmail.work, gmail.all)
        assert len(set(Message.objects.filter(remote__uid=5).values_list("emailid", flat=True))) == 1

    def test_labels_make_them_appear_and_disappear_and_can_be_applied_again(self, gmail: Gmail) -> None:
        add(gmail, row(1, "\\Inbox"), row(2, "\\Inbox"))
        changes = {1: ("Work", "Family"), 2: ("\\Inbox", "Work", "Nobody's")}
        assert label(gmail, changes) == LabelChanges(3, 1)
        written = Change.objects.count()
        assert label(gmail, changes) == LabelChanges()
        assert Change.objects.count() == written
        assert (shown(gmail.inbox), shown(gmail.work), shown(gmail.family)) == ({2: 2}, {1: 1, 2: 2}, {1: 1})
        assert set(Remote.objects.get(uid=2).labels) == {"\\Inbox", "Work", "Nobody's"}
        assert_counted(gmail.inbox, gmail.work, gmail.family)

    def test_a_message_that_gets_its_label_back_gets_a_new_uid(self, gmail: Gmail) -> None:
        add(gmail, row(1, "Work"))
        label(gmail, {1: ()})
        label(gmail, {1: ("Work",)})
        assert shown(gmail.work) == {2: 1}

    def test_what_is_in_trash_is_shown_nowhere_else(self, gmail: Gmail) -> None:
        add(gmail, row(1, "Work"), mailbox=gmail.trash)
        assert shown(gmail.work) == {}

    def test_a_label_mailbox_that_comes_later_is_filled(self, gmail: Gmail) -> None:
        add(gmail, *(row(uid, "Late") for uid in range(1, 6)))
        set_labels(fence=gmail.fence, labels={**LABELS, b"Family": "Late"})
        above: int | None = 0
        steps = []
        while above is not None:
            above = show_label(fence=gmail.fence, mailbox_id=gmail.family.pk, above=above, limit=2)
            steps.append(above)
        assert steps == [2, 4, 5, None]
        assert shown(gmail.family) == {1: 1, 2: 2, 3: 3, 4: 4, 5: 5}
        assert_counted(gmail.family)

    def test_a_renamed_label_keeps_its_messages(self, gmail: Gmail) -> None:
        add(gmail, row(1, "Work", "\\Inbox"))
        set_labels(fence=gmail.fence, labels={**LABELS, b"Work": "Business"})
        assert set(Remote.objects.get().labels) == {"Business", "\\Inbox"}
        assert label(gmail, {1: ("Business", "\\Inbox")}) == LabelChanges()


class TestSharedFlags:
    def test_upstream_flags_reach_every_mailbox_in_one_change_each(self, gmail: Gmail) -> None:
        add(gmail, row(1, "\\Inbox", "Family"), row(2))
        changed = apply_upstream_flags(
            fence=gmail.fence,
            mailbox_id=gmail.all.pk,
            uidvalidity=UIDVALIDITY,
            flags={1: FlagSet.parse(["\\Seen", "x"])},
        )
        assert changed == 1
        assert [flags(mailbox) for mailbox in (gmail.inbox, gmail.all, gmail.family)] == [[1], [1, 0], [1]]
        assert Remote.objects.get(uid=1).flags == 1
        assert_counted(gmail.inbox, gmail.all, gmail.family)
        assert [change.changed for change in Change.objects.exclude(changed="")] == ["1", "1", "1"]

    def test_a_client_changes_them_everywhere_and_queues_the_change_once(self, gmail: Gmail) -> None:
        add(gmail, row(1, "\\Inbox", "Family"), row(2, "\\Inbox"))
        result = store_flags(
            user_id=gmail.user_id, mailbox_id=gmail.inbox.pk, uids=NumberSet.parse("1:2"), store=adding("\\Seen")
        )
        assert set(result.changed) == {1, 2}
        assert [flags(mailbox) for mailbox in (gmail.inbox, gmail.all, gmail.family)] == [[1, 1], [1, 1], [1]]
        # On the message in All Mail, which outlives the label.
        assert list(Mutation.objects.values_list("mailbox", "message__remote__uid")) == [
            (gmail.all.pk, 1),
            (gmail.all.pk, 2),
        ]
        assert_counted(gmail.inbox, gmail.all, gmail.family)

    def test_a_read_of_the_upstream_does_not_undo_it_in_any_mailbox(self, gmail: Gmail) -> None:
        add(gmail, row(1, "\\Inbox", "Family"))
        store_flags(
            user_id=gmail.user_id, mailbox_id=gmail.family.pk, uids=NumberSet.parse("1"), store=adding("\\Seen")
        )
        store_flags(
            user_id=gmail.user_id, mailbox_id=gmail.inbox.pk, uids=NumberSet.parse("1"), store=removing("\\Seen")
        )
        store_flags(user_id=gmail.user_id, mailbox_id=gmail.all.pk, uids=NumberSet.parse("1"), store=adding("\\Seen"))
        upstream = {1: FlagSet.parse(["\\Flagged"])}
        apply_upstream_flags(fence=gmail.fence, mailbox_id=gmail.all.pk, uidvalidity=UIDVALIDITY, flags=upstream)
        assert flags(gmail.inbox) == flags(gmail.all) == flags(gmail.family) == [1 | 4]

    def test_a_change_that_waits_survives_the_label(self, gmail: Gmail) -> None:
        add(gmail, row(1, "\\Inbox"))
        inbox_message = Message.objects.get(mailbox=gmail.inbox)
        store_flags(user_id=gmail.user_id, mailbox_id=gmail.inbox.pk, uids=NumberSet.parse("1"), store=adding("\\Seen"))
        # As a time without labels may have left it.
        Mutation.objects.update(message=inbox_message, mailbox=gmail.inbox)
        label(gmail, {1: ()})
        assert Mutation.objects.get().message == Message.objects.get(mailbox=gmail.all)


class TestDisappearing:
    def test_what_leaves_all_mail_leaves_every_mailbox(self, gmail: Gmail) -> None:
        add(gmail, row(1, "\\Inbox", "Family"), row(2, "Family"))
        store_flags(user_id=gmail.user_id, mailbox_id=gmail.inbox.pk, uids=NumberSet.parse("1"), store=adding("\\Seen"))
        assert remove_messages(fence=gmail.fence, mailbox_id=gmail.all.pk, uidvalidity=UIDVALIDITY, uids=[1]) == 1
        assert (shown(gmail.inbox), shown(gmail.family), shown(gmail.all)) == ({}, {2: 2}, {2: 2})
        assert not Mutation.objects.exists()
        assert_counted(gmail.inbox, gmail.all, gmail.family)

    def test_moved_to_trash_it_keeps_its_bytes_by_its_id(self, gmail: Gmail) -> None:
        body = message_bytes()
        add(gmail, SkeletonRow(1, FlagSet(), INTERNAL_DATE, len(body), upstream_id="77", labels=("\\Inbox",)))
        add_bodies(gmail.fence, gmail.all, {1: body})
        contents = set(Message.objects.values_list("content", flat=True))
        assert len(contents) == 1
        assert None not in contents
        remove_messages(fence=gmail.fence, mailbox_id=gmail.all.pk, uidvalidity=UIDVALIDITY, uids=[1])
        trashed = SkeletonRow(4, FlagSet(), INTERNAL_DATE, len(body), upstream_id="77")
        add(gmail, trashed, mailbox=gmail.trash)
        assert {Message.objects.get().content_id} == contents
        assert not Listing.objects.exists()


class TestWithoutLabelsForAWhile:
    """All Mail hidden from IMAP, and shown again (field notes section 2, row 7)."""

    def _hide(self, gmail: Gmail) -> None:
        for mailbox in (gmail.inbox, gmail.work, gmail.family):
            while split_off(fence=gmail.fence, mailbox_id=mailbox.pk, limit=1):
                pass
        set_labels(fence=gmail.fence, labels={})

    def _uids(self) -> list[tuple[int, int, int]]:
        return sorted(Message.objects.values_list("mailbox", "uid", "pk"))

    def test_messages_keep_uids_and_rows_both_ways(self, gmail: Gmail) -> None:
        body = message_bytes()
        add(
            gmail,
            SkeletonRow(1, FlagSet(), INTERNAL_DATE, len(body), upstream_id="1001", labels=("\\Inbox", "Work")),
            row(2, "\\Inbox"),
            row(3),
        )
        add_bodies(gmail.fence, gmail.all, {1: body})
        before = self._uids()

        self._hide(gmail)
        # INBOX has UIDs of its own upstream; the messages are known by X-GM-MSGID.
        own = [row(41, flags=["\\Seen"], msgid=1001), row(42, msgid=1002)]
        assert add(gmail, *own, mailbox=gmail.inbox) == 0
        add(gmail, row(51, msgid=1001), mailbox=gmail.work)
        assert self._uids() == before
        assert shown(gmail.inbox) == {1: 41, 2: 42}
        assert Listing.objects.filter(mailbox=gmail.inbox).values_list("uid", flat=True).get() == 42

        set_labels(fence=gmail.fence, labels=LABELS)
        label(gmail, {1: ("\\Inbox",), 2: ("\\Inbox",), 3: ()})
        while remove_unlabelled(fence=gmail.fence, mailbox_id=gmail.work.pk, limit=1):
            pass
        gone = {uid for uid in before if uid[0] == gmail.work.pk}
        assert self._uids() == sorted(set(before) - gone)
        assert shown(gmail.inbox) == {1: 1, 2: 2}
        assert flags(gmail.inbox) == flags(gmail.all)[:2] == [0, 0]
        assert not Remote.objects.exclude(mailbox=gmail.all).exists()
        assert_counted(gmail.inbox, gmail.work, gmail.all)

    def test_bytes_that_came_meanwhile_are_taken_over(self, gmail: Gmail) -> None:
        body = message_bytes()
        add(gmail, SkeletonRow(1, FlagSet(), INTERNAL_DATE, len(body), upstream_id="1001", labels=("\\Inbox",)))
        self._hide(gmail)
        add(gmail, SkeletonRow(41, FlagSet(), INTERNAL_DATE, len(body), upstream_id="1001"), mailbox=gmail.inbox)
        add_bodies(gmail.fence, gmail.inbox, {41: body})
        assert Listing.objects.filter(mailbox=gmail.all).exists()
        set_labels(fence=gmail.fence, labels=LABELS)
        label(gmail, {1: ("\\Inbox",)})
        assert Message.objects.filter(content__isnull=False).count() == 2
        assert not Listing.objects.exists()
