"""Ingest of LIST: renames, mailboxes that go, and lists that are not to be believed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mailcache.models import Account, Mailbox, Message
from mailcache.services.ingest_list import UpstreamMailbox, ingest_mailbox_list
from mailcache.services.leases import Fence
from tests.builders import (
    add_bodies,
    add_skeleton,
    let_time_pass,
    make_account,
    make_fence,
    make_mailboxes,
    message_bytes,
    row_of,
    upstream_mailbox,
)
from tests.mailcache.rows import bytes_of, check_consistency

pytestmark = pytest.mark.django_db

INBOX = upstream_mailbox("INBOX")


@pytest.fixture
def fence() -> Fence:
    return make_fence(make_account())


def names() -> set[str]:
    return set(Mailbox.objects.values_list("name", flat=True))


def listed(*mailboxes: str) -> list[UpstreamMailbox]:
    return [INBOX, *(upstream_mailbox(name) for name in mailboxes)]


class TestRenames:
    def test_everything_stays(self, fence: Fence) -> None:
        (old,) = make_mailboxes(fence, "Old")
        body = message_bytes()
        add_skeleton(fence, old, [row_of(5, body)])
        add_bodies(fence, old, {5: body})

        ingest_mailbox_list(fence=fence, listed=listed("New"), renamed={old.pk: b"New"})

        new = Mailbox.objects.get(name="New")
        assert names() == {"INBOX", "New"}
        assert (new.pk, new.uidvalidity, new.uidnext, new.missed_lists) == (old.pk, old.uidvalidity, 6, 0)
        assert bytes(new.upstream_name or b"") == b"New"
        assert bytes_of(new) == {5: body}
        check_consistency(new)

    def test_two_swap_their_names(self, fence: Fence) -> None:
        one, two = make_mailboxes(fence, "One", "Two")

        changes = ingest_mailbox_list(
            fence=fence, listed=listed("One", "Two"), renamed={one.pk: b"Two", two.pk: b"One"}
        )

        assert (changes.created, changes.deleted) == (0, 0)
        rows = {row.pk: (row.name, bytes(row.upstream_name or b"")) for row in Mailbox.objects.all()}
        assert (rows[one.pk], rows[two.pk]) == (("Two", b"Two"), ("One", b"One"))

    def test_a_new_mailbox_gets_the_old_name(self, fence: Fence) -> None:
        (old,) = make_mailboxes(fence, "Work")

        ingest_mailbox_list(fence=fence, listed=listed("Work", "Work 2023"), renamed={old.pk: b"Work 2023"})

        assert Mailbox.objects.get(name="Work 2023").pk == old.pk
        assert Mailbox.objects.get(name="Work").pk != old.pk

    def test_the_new_name_is_held_by_one_that_is_gone(self, fence: Fence) -> None:
        """ "Two" was deleted and "One" renamed to it: not before the deletion is believed."""
        one, two = make_mailboxes(fence, "One", "Two")
        renamed = {one.pk: b"Two"}

        ingest_mailbox_list(fence=fence, listed=listed("Two"), renamed=renamed)
        assert Mailbox.objects.get(pk=two.pk).name == "Two"
        # Neither is compared meanwhile: the name that each has upstream is not its own.
        assert set(Mailbox.objects.exclude(name="INBOX").values_list("missed_lists", flat=True)) == {1}

        let_time_pass(one.account, timedelta(seconds=30))
        ingest_mailbox_list(fence=fence, listed=listed("Two"), renamed=renamed)
        assert [(row.pk, row.missed_lists) for row in Mailbox.objects.filter(name="Two")] == [(one.pk, 0)]
        assert names() == {"INBOX", "Two"}

    def test_a_name_that_is_taken_here_stays_away(self, fence: Fence) -> None:
        one, local = make_mailboxes(fence, "One", "Two")
        Mailbox.objects.filter(pk=local.pk).update(upstream_name=None)

        ingest_mailbox_list(fence=fence, listed=listed("Two"), renamed={one.pk: b"Two"})

        one.refresh_from_db()
        assert (one.name, bytes(one.upstream_name or b"")) == ("One", b"Two")

    def test_children_come_along(self, fence: Fence) -> None:
        parent, child = make_mailboxes(fence, "A", "A/B")

        ingest_mailbox_list(fence=fence, listed=listed("Z", "Z/B"), renamed={parent.pk: b"Z", child.pk: b"Z/B"})

        assert names() == {"INBOX", "Z", "Z/B"}


class TestMassDeletion:
    def test_most_of_many_go_only_after_ten_minutes(self, fence: Fence) -> None:
        make_mailboxes(fence, "A", "B", "C")
        account = Account.objects.get()

        ingest_mailbox_list(fence=fence, listed=listed())
        let_time_pass(account, timedelta(minutes=5))
        assert ingest_mailbox_list(fence=fence, listed=listed()).deleted == 0
        account.refresh_from_db()
        assert "3 of 4" in account.notice
        let_time_pass(account, timedelta(minutes=5))
        assert ingest_mailbox_list(fence=fence, listed=listed()).deleted == 3

        account.refresh_from_db()
        assert account.notice == ""

    def test_they_come_back(self, fence: Fence) -> None:
        make_mailboxes(fence, "A", "B", "C")
        ingest_mailbox_list(fence=fence, listed=listed())

        ingest_mailbox_list(fence=fence, listed=listed("A", "B", "C"))

        assert Account.objects.get().notice == ""
        assert not Mailbox.objects.exclude(missed_lists=0, missed_since=None).exists()

    def test_another_notice_stays(self, fence: Fence) -> None:
        Account.objects.update(notice="All Mail is hidden")

        ingest_mailbox_list(fence=fence, listed=listed())

        assert Account.objects.get().notice == "All Mail is hidden"


class TestSelectability:
    def test_a_mailbox_deleted_above_its_children_is_believed_the_second_time(self, fence: Fence) -> None:
        parent, _ = make_mailboxes(fence, "A", "A/B")
        add_skeleton(fence, parent, [row_of(1, message_bytes())])
        now = [INBOX, replace(upstream_mailbox("A"), selectable=False), upstream_mailbox("A/B")]

        ingest_mailbox_list(fence=fence, listed=now)
        assert Mailbox.objects.get(name="A").messages == 1
        let_time_pass(parent.account, timedelta(seconds=30))
        ingest_mailbox_list(fence=fence, listed=now)

        there = Mailbox.objects.get(name="A")
        assert (there.selectable, there.messages, Message.objects.count()) == (False, 0, 0)
        assert there.uidvalidity > parent.uidvalidity


class TestFacts:
    def test_checkpoint_fields_stay(self, fence: Fence) -> None:
        """LIST touches what LIST tells, nothing else (field note 26)."""
        (work,) = make_mailboxes(fence, "Work")
        Mailbox.objects.filter(pk=work.pk).update(upstream_uidvalidity=9, uidnext=50, sync_paused_reason="asked")

        ingest_mailbox_list(fence=fence, listed=[INBOX, replace(upstream_mailbox("Work"), mailbox_id="M1")])

        work.refresh_from_db()
        assert (work.upstream_uidvalidity, work.uidnext, work.sync_paused_reason) == (9, 50, "asked")
        assert work.upstream_mailbox_id == "M1"

    def test_subscriptions_follow_at_creation_only(self, fence: Fence) -> None:
        quiet = replace(upstream_mailbox("Quiet"), subscribed=False)
        ingest_mailbox_list(fence=fence, listed=[INBOX, quiet])
        assert not Mailbox.objects.get(name="Quiet").subscribed
        Mailbox.objects.update(subscribed=True)

        ingest_mailbox_list(fence=fence, listed=[INBOX, quiet])

        assert Mailbox.objects.get(name="Quiet").subscribed

    def test_an_id_that_is_not_told_any_more_is_kept(self, fence: Fence) -> None:
        ingest_mailbox_list(fence=fence, listed=[INBOX, replace(upstream_mailbox("Work"), mailbox_id="M1")])

        ingest_mailbox_list(fence=fence, listed=listed("Work"))

        assert Mailbox.objects.get(name="Work").upstream_mailbox_id == "M1"
