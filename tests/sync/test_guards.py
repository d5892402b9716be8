"""Upstreams that leave out, refuse or lie: nothing is deleted for it, and nothing blocks the rest."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from mailcache.models import Listing, Message
from mailcache.wire.number_set import NumberSet
from sync.account_run import SliceEnd, run_account_until_done, run_slice
from sync.models import Checkpoint, SyncOutcome, SyncRun
from tests.builders import message_bytes
from tests.sync.mirror import bodies, synced
from tests.sync.one_mailbox import Upstream
from tests.sync.wants import want_inbox

pytestmark = pytest.mark.django_db(transaction=True)


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

    def test_bytes_of_messages_that_are_gone_as_it_seems_are_not_asked_for(self, upstream: Upstream) -> None:
        server, account = upstream(9)
        assert run_slice(account.pk, full=True, seconds=0.0) is SliceEnd.MORE
        assert Listing.objects.exists()
        kept, server.messages = server.messages, {}
        asked = len(server.bodies_asked())
        synced(account)
        assert len(server.bodies_asked()) == asked
        assert not Listing.objects.exclude(parked_reason="").exists()
        server.messages = kept
        Listing.objects.update(retry_at=timezone.now())
        synced(account)
        assert bodies(account) == list(kept.values())

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


class TestHeaders:
    def test_headers_come_first_where_bodies_take_long(
        self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server, account = upstream(1600)
        monkeypatch.setattr("sync.planner.are_headers_worthwhile", lambda size, rate: size > 0)
        monkeypatch.setattr("sync.passes._MEASUREMENTS", 0)
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
    def test_messages_that_are_known_again_stay_and_others_are_read_anew(self, upstream: Upstream) -> None:
        # Field note 27: a change of UIDVALIDITY downloaded everything again.
        server, account = upstream(4)
        synced(account)
        server.uidvalidity = 8
        server.messages[2] = message_bytes("another")
        asked = len(server.bodies_asked())
        run = synced(account)
        assert (run.messages_removed, run.bodies_added) == (1, 1)
        assert len(server.bodies_asked()) == asked + 1
        assert set(bodies(account)) == set(server.messages.values())
        assert list(Message.objects.order_by("uid").values_list("uid", flat=True)) == [1, 3, 4, 5]

    def test_the_bytes_tell_what_nothing_else_tells(self, upstream: Upstream) -> None:
        """Two without Message-ID, alike in size and date, of which one is left: it keeps its UID."""
        server, account = upstream(3)
        alike = {uid: b"Message-ID:\r\nSubject: %d\r\n\r\nbody\r\n" % uid for uid in (1, 2)}
        server.messages |= alike
        synced(account)
        server.uidvalidity = 8
        server.messages = {1: alike[2], 2: server.messages[3]}
        synced(account)
        synced(account)
        assert bodies(account) == [alike[2], server.messages[2]]
        assert list(Message.objects.order_by("uid").values_list("uid", flat=True)) == [2, 3]

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


class TestMessages:
    def test_no_internaldate_is_taken_from_the_header(self, upstream: Upstream) -> None:
        server, account = upstream(3)
        server.without_date = {2}
        synced(account)
        dates = set(Message.objects.values_list("internal_date", flat=True))
        assert [date.isoformat() for date in dates] == ["2024-05-17T08:30:00+00:00"]

    @pytest.mark.parametrize("switch", ["without_body", "refuses_body"])
    def test_a_message_that_is_not_delivered_is_set_aside(self, upstream: Upstream, switch: str) -> None:
        server, account = upstream(6)
        setattr(server, switch, {4})
        run = synced(account)

        assert (run.bodies_added, run.bodies_parked, run.bodies_remaining) == (5, 1, 1)
        parked = Listing.objects.get()
        assert (parked.uid, parked.attempts) == (4, 1)
        assert parked.parked_reason
        account.refresh_from_db()
        assert parked.retry_at is not None
        assert abs(account.next_sync_at - parked.retry_at) < timedelta(seconds=1)

        # It is asked for again when its time has come, and not before.
        asked = len(server.bodies_asked())
        synced(account)
        assert len(server.bodies_asked()) == asked
        setattr(server, switch, set())
        Listing.objects.update(retry_at=timezone.now())
        synced(account)
        assert bodies(account) == list(server.messages.values())

    def test_an_upstream_that_delivers_nothing_is_not_messages_that_are_bad(self, upstream: Upstream) -> None:
        server, account = upstream(20)
        server.without_body = set(server.messages)
        assert run_account_until_done(account.pk) is not SliceEnd.MORE
        assert not Listing.objects.filter(retry_at__gt=timezone.now() + timedelta(minutes=20)).exists()
        assert len(server.bodies_asked()) < 10

    @pytest.mark.parametrize("code", [b"", b"[UNAVAILABLE] "])
    def test_bad_messages_that_fill_a_batch_hold_up_no_other_mail(self, upstream: Upstream, code: bytes) -> None:
        server, account = upstream(4)
        synced(account)
        for uid in range(5, 17):
            server.messages[uid] = message_bytes(f"calendar item {uid}")
        server.uidnext = 17
        server.refuses_body, server.refusal = set(range(5, 17)), code + b"cannot convert this item"
        run_account_until_done(account.pk)
        assert set(Listing.objects.exclude(parked_reason="").values_list("uid", flat=True)) == set(range(5, 17))
        server.messages[17], server.uidnext = message_bytes("new mail"), 18
        want_inbox(account_id=account.pk)
        assert run_slice(account.pk) is SliceEnd.DONE
        assert Message.objects.get(uid=17).content is not None
        # Nobody has blamed any one of them: when the upstream recovers they come together.
        server.refuses_body = set()
        Listing.objects.update(retry_at=timezone.now())
        asked = len(server.bodies_asked())
        synced(account)
        assert len(server.bodies_asked()) == asked + 1
        assert bodies(account) == list(server.messages.values())

    def test_nor_do_they_hold_up_what_is_older(self, upstream: Upstream) -> None:
        server, account = upstream(20)
        server.refuses_body = bad = set(range(9, 21))
        server.messages |= {uid: message_bytes(str(uid), body="bad\r\n" * 4_400) for uid in bad}
        for _ in range(4):
            began = timezone.now()
            assert run_account_until_done(account.pk) is SliceEnd.DONE
            account.refresh_from_db()
            assert account.next_sync_at < began + timedelta(minutes=21)
            Listing.objects.update(retry_at=began)
        assert set(Listing.objects.filter(attempts__gt=0).values_list("uid", flat=True)) == bad
        assert set(Listing.objects.values_list("uid", flat=True)) == bad

    def test_a_message_at_which_the_connection_breaks_blocks_the_others_for_some_runs_only(
        self, upstream: Upstream
    ) -> None:
        server, account = upstream(5)
        server.drops_at_body = {3}
        ends = [run_account_until_done(account.pk) for _ in range(4)]

        assert ends[:2] == [SliceEnd.FAILED] * 2
        assert ends[-1] is SliceEnd.DONE
        assert list(Listing.objects.values_list("uid", flat=True)) == [3]
        assert Message.objects.filter(content__isnull=False).count() == 4

    def test_nothing_that_is_here_is_fetched_again(self, upstream: Upstream) -> None:
        server, account = upstream(5)
        synced(account)
        asked = len(server.bodies_asked())
        synced(account)
        synced(account)
        assert len(server.bodies_asked()) == asked

    def test_slices_fetch_every_body_once(self, upstream: Upstream) -> None:
        server, account = upstream(1200)
        server.without_body = {7}
        slices = 1
        end = run_slice(account.pk, full=True, seconds=0.0)
        while end is SliceEnd.MORE:
            slices += 1
            end = run_slice(account.pk, seconds=0.0)
        assert end is SliceEnd.DONE
        assert slices > 5
        asked = [NumberSet.parse(command.split(b" ")[2]) for command in server.bodies_asked()]
        assert sum(len(uids) for uids in asked) == 1201
        assert len(NumberSet(pair for uids in asked for pair in uids.ranges)) == 1200

    def test_an_unchanged_mailbox_costs_one_command(self, upstream: Upstream) -> None:
        server, account = upstream(2000)
        synced(account)
        first = [command.split(b" ")[0] for command in server.commands]
        # 2000 / 500 for the skeleton, and batches of bodies by number.
        assert len(server.asked(b"UID FETCH")) - len(server.bodies_asked()) == 4
        assert len(server.bodies_asked()) <= 6
        assert first.count(b"EXAMINE") == 1

        server.commands.clear()
        synced(account)
        work = [command for command in server.commands if command.split(b" ")[0] in (b"EXAMINE", b"UID", b"LIST")]
        assert len(work) == 2
        assert max(len(command) for command in server.commands) < 8000


def test_a_failing_run_is_recorded(upstream: Upstream) -> None:
    server, account = upstream(2)
    server.mailboxes = []
    assert run_account_until_done(account.pk) is SliceEnd.FAILED
    run = SyncRun.objects.get()
    assert (run.outcome, run.finished_at is not None, bool(run.reason)) == (SyncOutcome.FAILED, True, True)
    assert run.commands > 0
