"""Upstreams that leave out, refuse or lie: nothing is deleted for it, and nothing blocks the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest
from django.utils import timezone

from mailcache.models import Account, Listing, Message
from sync.account_run import SliceEnd, run_account_until_done, run_slice
from sync.models import Checkpoint, SyncOutcome, SyncRun
from sync.profiles import BY_NAME
from tests.builders import make_account, message_bytes
from tests.sync.mirror import mirrored
from tests.sync.one_mailbox import OneMailbox
from tests.sync.tiers import use_profile

pytestmark = pytest.mark.django_db(transaction=True)

Upstream = Callable[[int], tuple[OneMailbox, Account]]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Start an upstream with so many messages; returns it and its account."""
    with ExitStack() as stack:

        def start(count: int) -> tuple[OneMailbox, Account]:
            server = stack.enter_context(OneMailbox(count))
            return server, make_account(port=server.port)

        yield start


def synced(account: Account) -> SyncRun:
    assert run_account_until_done(account.pk) is SliceEnd.DONE
    return SyncRun.objects.latest("started_at")


def bodies(account: Account) -> list[bytes]:
    return [data for data, _ in mirrored(account)["INBOX"]]


class TestIncompleteAnswers:
    def test_a_search_that_names_fewer_than_exist_deletes_nothing(self, upstream: Upstream) -> None:
        server, account = upstream(5)
        synced(account)
        server.hidden_from_search = {1, 2, 3}
        server.uidnext = 9

        assert run_account_until_done(account.pk) is SliceEnd.FAILED

        assert Message.objects.count() == 5
        checkpoint = Checkpoint.objects.get()
        assert "5 messages" in checkpoint.reason
        assert checkpoint.retry_at is not None
        assert checkpoint.exists == 5

    def test_the_same_for_an_empty_answer(self, upstream: Upstream) -> None:
        server, account = upstream(2)
        synced(account)
        server.messages, kept = {}, server.messages
        synced(account)
        assert Message.objects.count() == 2
        server.messages = kept
        synced(account)
        assert Message.objects.count() == 2
        assert Checkpoint.objects.get().gone_seen_at is None

    def test_a_search_that_is_complete_when_asked_again_is_used(self, upstream: Upstream) -> None:
        server, account = upstream(3)
        server.says_exists = 4
        server.hidden_from_search = {3}
        assert run_account_until_done(account.pk) is SliceEnd.FAILED
        assert len(server.asked(b"UID SEARCH")) == 2

    @pytest.mark.parametrize("switch", ["without_skeleton", "refuses_skeleton"])
    def test_messages_that_fetch_leaves_out_keep_the_comparison_open(self, upstream: Upstream, switch: str) -> None:
        server, account = upstream(5)
        setattr(server, switch, {2})
        run = synced(account)
        assert (run.outcome, "leaves out 1" in run.reason) == (SyncOutcome.PARTLY, True)
        assert len(bodies(account)) == 4
        assert Checkpoint.objects.get().exists is None

        setattr(server, switch, set())
        run = synced(account)
        assert (run.outcome, run.reason) == (SyncOutcome.COMPLETED, "")
        assert len(bodies(account)) == 5
        assert Checkpoint.objects.get().exists == 5

    def test_an_upstream_that_describes_no_message_fails(self, upstream: Upstream) -> None:
        server, account = upstream(300)
        server.refuses_skeleton = set(server.messages)
        assert run_account_until_done(account.pk) is SliceEnd.FAILED
        assert len(server.asked(b"UID FETCH")) < 60

    def test_a_list_without_inbox_is_no_list(self, upstream: Upstream) -> None:
        server, account = upstream(2)
        synced(account)
        server.mailboxes = []
        assert run_account_until_done(account.pk) is SliceEnd.FAILED
        assert Message.objects.count() == 2


class TestCounters:
    def test_no_uidnext_is_derived_from_the_last_uid(self, upstream: Upstream) -> None:
        # Quirk 38: Courier.
        server, account = upstream(4)
        server.uidnext = None
        synced(account)
        assert Checkpoint.objects.get().uidnext == 5
        server.commands.clear()
        synced(account)
        assert server.asked(b"UID") == [b"UID FETCH * (UID)"]

        server.deliver()
        del server.messages[2]
        synced(account)
        assert bodies(account) == list(server.messages.values())

    def test_a_mailbox_is_selected_where_examine_lies(
        self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server, account = upstream(2)
        use_profile(monkeypatch, account, BY_NAME["courier"])
        synced(account)
        assert (len(server.asked(b"SELECT")) > 0, server.asked(b"EXAMINE")) == (True, [])

    def test_an_empty_mailbox_without_uidnext_has_its_first_message_read(self, upstream: Upstream) -> None:
        server, account = upstream(0)
        server.uidnext = None
        synced(account)
        server.commands.clear()
        synced(account)
        assert server.asked(b"UID") == []
        server.deliver()
        synced(account)
        assert bodies(account) == list(server.messages.values())

    def test_uids_are_listed_by_fetch_where_search_does_not_work(
        self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Quirk 40, known from the profile or found out.
        for profile in ("hmail", "generic"):
            server, account = upstream(3)
            use_profile(monkeypatch, account, BY_NAME[profile])
            server.refuses_search_all = True
            synced(account)
            del server.messages[1]
            synced(account)
            assert bodies(account) == list(server.messages.values())
            assert len(server.asked(b"UID SEARCH")) <= (0 if profile == "hmail" else 2)

    def test_sizes_are_asked_in_small_commands_where_they_are_dear(
        self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Quirk 39: DavMail downloads a message to tell its size.
        server, account = upstream(250)
        use_profile(monkeypatch, account, BY_NAME["davmail"])
        synced(account)
        sizes = [command for command in server.asked(b"UID FETCH") if b"RFC822.SIZE" in command]
        assert [command.split(b" ")[2] for command in sizes] == [b"1:100", b"101:200", b"201:250"]

        server.deliver()
        Checkpoint.objects.update(full_wanted=True)
        server.commands.clear()
        synced(account)
        sizes = [command for command in server.asked(b"UID FETCH") if b"RFC822.SIZE" in command]
        assert [command.split(b" ")[2] for command in sizes] == [b"251"]


class TestFlags:
    def test_a_message_without_flags_is_asked_for_once_more_then_shown_without(self, upstream: Upstream) -> None:
        # Quirk 43.
        server, account = upstream(3)
        server.without_flags = {2}
        synced(account)
        asked = [command.split(b" ")[2] for command in server.asked(b"UID FETCH") if b"RFC822.SIZE" in command]
        assert asked == [b"1:3", b"2"]
        assert dict(Message.objects.values_list("remote__uid", "flags")) == {1: 1, 2: 0, 3: 1}


class TestUidvalidity:
    def test_none_is_trusted_as_long_as_known_uids_name_the_same_messages(self, upstream: Upstream) -> None:
        # Quirk 41.
        server, account = upstream(5)
        server.uidvalidity = None
        synced(account)
        server.uidvalidity = 0
        server.deliver()
        synced(account)
        assert bodies(account) == list(server.messages.values())
        assert account.mailboxes.get().upstream_uidvalidity == 1

        server.messages = {uid: message_bytes(f"another {uid}") for uid in server.messages}
        server.dates = dict.fromkeys(server.messages, b"1-Jan-2020 00:00:00 +0000")
        run = synced(account)
        assert account.mailboxes.get().upstream_uidvalidity == 2
        assert run.messages_removed + 0 == 6
        assert bodies(account) == list(server.messages.values())

    def test_one_that_falls_is_a_change_like_any_other(self, upstream: Upstream) -> None:
        server, account = upstream(3)
        synced(account)
        server.uidvalidity = 3
        server.messages = {uid: message_bytes("another") for uid in server.messages}
        synced(account)
        assert bodies(account) == list(server.messages.values())

    def test_one_that_changes_again_and_again_is_waited_for(self, upstream: Upstream) -> None:
        server, account = upstream(3)
        synced(account)
        for uidvalidity in (8, 7, 8):
            server.uidvalidity = uidvalidity
            synced(account)
        rows = list(Message.objects.order_by("pk").values_list("pk", "uid"))

        server.uidvalidity = 9
        assert run_account_until_done(account.pk) is SliceEnd.FAILED
        checkpoint = Checkpoint.objects.get()
        assert "UIDVALIDITY again and again" in checkpoint.reason
        assert checkpoint.retry_at is not None
        assert list(Message.objects.order_by("pk").values_list("pk", "uid")) == rows

        for _ in range(8):
            Checkpoint.objects.update(retry_at=None)
            run_account_until_done(account.pk)
        checkpoint.refresh_from_db()
        assert checkpoint.retry_at > timezone.now() + timedelta(hours=1)

        # A day later the new numbering is one that has settled.
        Checkpoint.objects.update(retry_at=None, uidvalidity_changed_at=timezone.now() - timedelta(days=1))
        synced(account)
        assert account.mailboxes.get().upstream_uidvalidity == 9

    def test_what_is_left_of_a_large_mailbox_that_was_renumbered_is_seen_twice(self, upstream: Upstream) -> None:
        server, account = upstream(25)
        synced(account)
        server.uidvalidity = 8
        server.messages = {uid: message_bytes(f"another {uid}") for uid in server.messages}
        server.dates = dict.fromkeys(server.messages, b"1-Jan-2020 00:00:00 +0000")
        assert "25 messages are gone" in synced(account).reason
        assert Message.objects.count() == 50

        Checkpoint.objects.update(gone_seen_at=timezone.now() - timedelta(minutes=1))
        synced(account)
        assert bodies(account) == list(server.messages.values())

    def test_a_message_that_is_left_out_of_a_new_numbering_does_not_go(self, upstream: Upstream) -> None:
        server, account = upstream(3)
        synced(account)
        server.uidvalidity, server.without_skeleton = 8, {2}
        synced(account)
        kept = bodies(account)
        assert server.messages[2] in kept

        server.without_skeleton = set()
        synced(account)
        assert bodies(account).count(server.messages[2]) == 1


class TestHeaders:
    def test_headers_come_first_where_bodies_take_long(
        self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server, account = upstream(1600)
        monkeypatch.setattr("sync.planner.are_headers_worthwhile", lambda size, rate: size > 0)
        server.refuses_headers = {3}
        end = run_slice(account.pk, full=True, seconds=0.0)
        while end is SliceEnd.MORE and not Listing.objects.exclude(header=None).exists():
            end = run_slice(account.pk, seconds=0.0)
        newest = Listing.objects.latest("uid")
        assert bytes(newest.header or b"").endswith(b"\r\n\r\n")
        assert bytes(newest.envelope or b"").startswith(b"(")
        assert run_account_until_done(account.pk) is SliceEnd.DONE
        assert bodies(account) == list(server.messages.values())


class TestRenumbered:
    def test_what_is_known_again_keeps_its_uid_and_is_not_fetched(self, upstream: Upstream) -> None:
        server, account = upstream(4)
        synced(account)
        server.uidvalidity, server.messages[4] = 8, message_bytes("another")
        run = synced(account)
        assert (run.messages_added, run.messages_removed, run.bodies_added) == (1, 1, 1)
        assert bodies(account) == list(server.messages.values())
        assert list(Message.objects.order_by("uid").values_list("uid", flat=True)) == [1, 2, 3, 5]

    def test_uids_of_the_old_numbering_are_never_fetched_under_the_new_one(self, upstream: Upstream) -> None:
        server, account = upstream(4)
        server.without_body = {1}
        synced(account)
        server.uidvalidity = 8
        server.messages = {uid: message_bytes("another") for uid in server.messages}
        server.without_body, server.says_exists = set(), 9
        Listing.objects.update(retry_at=None)
        mailbox = account.mailboxes.get()
        mailbox.upstream_uidvalidity = 8
        mailbox.save()
        Checkpoint.objects.update(retry_at=timezone.now() + timedelta(hours=1))

        asked = len(server.bodies_asked())
        run_account_until_done(account.pk)
        assert len(server.bodies_asked()) == asked
        assert Listing.objects.count() == 1


def test_a_failing_run_is_recorded(upstream: Upstream) -> None:
    server, account = upstream(2)
    server.mailboxes = []
    assert run_account_until_done(account.pk) is SliceEnd.FAILED
    run = SyncRun.objects.get()
    assert (run.outcome, run.finished_at is not None, bool(run.reason)) == (SyncOutcome.FAILED, True, True)
    assert run.commands > 0
