"""Upstreams that number their messages badly, or tell less of them than they should."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from mailcache.models import Listing, Message
from sync.account_run import SliceEnd, run_account_until_done
from sync.models import Checkpoint
from sync.profiles import BY_NAME, GENERIC
from tests.builders import message_bytes
from tests.sync.mirror import bodies, synced
from tests.sync.one_mailbox import Upstream
from tests.sync.tiers import use_profile

pytestmark = pytest.mark.django_db(transaction=True)


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

    def test_an_upstream_that_refuses_changedsince_is_asked_for_all_flags(self, upstream: Upstream) -> None:
        # Quirk 42: advertised, then rejected. Its HIGHESTMODSEQ comes without the text that belongs to it (quirk 3).
        server, account = upstream(3)
        server.modseq, server.refuses_changedsince = 5, True
        synced(account)
        server.modseq, server.flags = 6, {2: b"\\Flagged"}
        synced(account)
        assert Message.objects.get(remote__uid=2).flags == 4

        server.modseq, server.flags = 7, {1: b"\\Flagged"}
        server.deliver()
        synced(account)
        assert dict(Message.objects.values_list("remote__uid", "flags")) == {1: 4, 2: 1, 3: 1, 4: 0}

    def test_a_modseq_may_move_before_the_change_can_be_seen(
        self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Quirk 2: what CHANGEDSINCE of the last number would hide is asked for with the one before.
        server, account = upstream(3)
        use_profile(monkeypatch, account, replace(GENERIC, name="early-modseq", overlap_modseq=True))
        server.modseq = 5
        synced(account)
        server.modseq = 6
        synced(account)
        server.commands.clear()
        synced(account)
        assert server.asked(b"UID FETCH") == [b"UID FETCH 1:3 (FLAGS) (CHANGEDSINCE 5)"]
        server.commands.clear()
        synced(account)
        assert server.asked(b"UID FETCH") == []


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
        assert run.messages_removed == 6
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

    def test_what_may_be_one_whose_bytes_nobody_can_fetch_for_a_while_stays(self, upstream: Upstream) -> None:
        server, account = upstream(12)
        server.messages = {uid: b"Subject: %d\r\n\r\nhello\r\n" % (uid + 10) for uid in server.messages}
        synced(account)
        rows = list(Message.objects.order_by("uid").values_list("pk", "uid", "content_id"))
        server.uidvalidity, server.dates = 8, dict.fromkeys(server.messages, b"1-Jan-2020 00:00:00 +0000")
        server.refuses_body, server.refusal = set(server.messages), b"[UNAVAILABLE] try later"
        for _ in range(3):
            run_account_until_done(account.pk)
            Checkpoint.objects.update(gone_seen_at=timezone.now() - timedelta(minutes=1), retry_at=None)
        server.refuses_body = set()
        Listing.objects.update(retry_at=None)
        for _ in range(2):
            synced(account)
        assert list(Message.objects.order_by("uid").values_list("pk", "uid", "content_id")) == rows

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
