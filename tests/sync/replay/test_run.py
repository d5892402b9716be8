"""When replay works, when it waits, and what it costs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from mailcache.models import Account, AccountState, LeaseKind, Mailbox, Message, Mutation, MutationState
from mailcache.services import leases
from mailcache.services.ingest_skeleton import add_messages
from mailcache.services.mutation_control import retry_mutations
from mailcache.services.replays import pause_replay
from mailcache.services.sealed_secrets import seal_secret
from mailcache.services.settlement import park
from mailcache.wire.number_set import NumberSet
from sync import scheduling
from sync.account_run import SliceEnd, run_slice
from sync.models import ConnectionSlot, Purpose, UpstreamUsage
from sync.replay import turns
from sync.replay.run import ReplayEnd, run_replay
from tests.builders import make_fence, message_bytes, skeleton_row
from tests.sync.replay.hands import Hands


class TestWhen:
    def test_a_local_change_is_replayed_at_once(self, hands: Hands, sent: list[tuple[str, str]]) -> None:
        hands.deliver(message_bytes())
        hands.store("\\Seen")
        assert sent[-1] == (scheduling.REPLAY_ACCOUNT, "urgent")

    def test_many_changes_are_one_message(self, hands: Hands, sent: list[tuple[str, str]]) -> None:
        hands.deliver(message_bytes())
        sent.clear()
        hands.store("\\Seen")
        hands.store("\\Flagged")
        assert sent == [(scheduling.REPLAY_ACCOUNT, "urgent")]
        # It has arrived, and might have read the queue by now.
        scheduling.begin_replay(hands.account.pk)
        hands.store("\\Answered")
        assert len(sent) == 2

    def test_not_while_it_is_paused(self, hands: Hands) -> None:
        hands.deliver(message_bytes())
        hands.store("\\Seen")
        pause_replay(account_id=hands.account.pk, paused=True)
        assert hands.replay() is ReplayEnd.STOPPED
        assert scheduling.enqueue_due_replays(now=timezone.now() + timedelta(hours=1)) == 0
        pause_replay(account_id=hands.account.pk, paused=False)
        assert hands.replay() is ReplayEnd.DONE

    def test_nor_with_credentials_that_were_refused(self, hands: Hands) -> None:
        hands.deliver(message_bytes())
        hands.store("\\Seen")
        Account.objects.filter(pk=hands.account.pk).update(state=AccountState.AUTH_FAILED)
        assert hands.replay() is ReplayEnd.STOPPED

    def test_one_worker_at_a_time(self, hands: Hands) -> None:
        hands.deliver(message_bytes())
        hands.store("\\Seen")
        fence = leases.acquire(account_id=hands.account.pk, kind=LeaseKind.REPLAY, holder="another")
        assert fence is not None
        assert hands.replay() is ReplayEnd.BUSY
        leases.release(fence)
        assert hands.replay() is ReplayEnd.DONE

    def test_what_was_queued_meanwhile_is_not_forgotten(self, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
        hands.deliver(message_bytes(), message_bytes())
        hands.store("\\Seen")
        release = leases.release

        def queue_and_release(fence: leases.Fence) -> None:
            hands.store("\\Flagged")
            release(fence)

        monkeypatch.setattr(leases, "release", queue_and_release)
        assert run_replay(hands.account.pk) is ReplayEnd.MORE

    def test_the_sweep_finds_what_a_lost_message_left(self, hands: Hands, sent: list[tuple[str, str]]) -> None:
        hands.deliver(message_bytes())
        hands.store("\\Seen")
        sent.clear()
        now = timezone.now()
        assert scheduling.enqueue_due_replays(now=now) == 0
        assert scheduling.enqueue_due_replays(now=now + timedelta(seconds=5)) == 1
        assert sent == [(scheduling.REPLAY_ACCOUNT, "urgent")]
        assert scheduling.enqueue_due_replays(now=now + timedelta(seconds=6)) == 0

    def test_what_others_hold_up_does_not_keep_workers_busy(self, hands: Hands) -> None:
        hands.deliver(message_bytes())
        hands.copy("Archive")
        hands.store("\\Seen", mailbox="Archive")
        copy = Mutation.objects.get(kind="copy")
        fence = leases.acquire(account_id=hands.account.pk, kind=LeaseKind.REPLAY, holder="test")
        assert fence is not None
        park(fence=fence, ids=[copy.pk], reason="no")
        leases.release(fence)
        assert hands.replay() is ReplayEnd.DONE
        assert scheduling.enqueue_due_replays(now=timezone.now() + timedelta(seconds=10)) == 0
        assert retry_mutations(account_id=hands.account.pk, ids=[copy.pk]) == 1
        assert hands.replay() is ReplayEnd.DONE
        assert hands.unsettled() == []


class TestUpstreamAway:
    def test_a_thousand_changes_cost_one_attempt(self, hands: Hands) -> None:
        hands.deliver(message_bytes("one"))
        for flag in ("a", "b", "c"):
            hands.store(flag)
        hands.append(message_bytes("new"))
        hands.proxy.refuse()
        assert hands.replay() is ReplayEnd.FAILED
        account = Account.objects.get(pk=hands.account.pk)
        assert account.replay_failures == 1
        assert account.replay_reason
        assert set(Mutation.objects.values_list("attempts", flat=True)) == {0}
        assert hands.replay(force=False) is ReplayEnd.STOPPED
        hands.proxy.allow()
        assert hands.replay() is ReplayEnd.DONE
        assert len(hands.there()) == 2
        account.refresh_from_db()
        assert (account.replay_failures, account.replay_reason) == (0, "")

    def test_refused_credentials_stop_the_account(self, hands: Hands) -> None:
        hands.deliver(message_bytes("one"))
        hands.store("\\Seen")
        sealed = seal_secret(account_id=hands.account.pk, secret="wrong")
        Account.objects.filter(pk=hands.account.pk).update(sealed_secret=sealed)
        assert hands.replay() is ReplayEnd.FAILED
        assert Account.objects.get(pk=hands.account.pk).state == AccountState.AUTH_FAILED
        assert Mutation.objects.get().attempts == 0


class TestTurns:
    def test_a_sync_makes_way_for_a_replay_that_has_no_connection(self, hands: Hands) -> None:
        hands.deliver(message_bytes("one"))
        hands.store("\\Seen")
        slot = ConnectionSlot.objects.create(
            account=hands.account, host="127.0.0.1", purpose=Purpose.SYNC, holder="a sync",
            expires_at=timezone.now() + timedelta(minutes=1),
        )  # fmt: skip
        assert hands.replay() is ReplayEnd.CROWDED
        assert turns.is_asked(hands.account.pk)
        slot.delete()
        assert run_slice(hands.account.pk, full=True) is SliceEnd.CROWDED
        assert hands.replay() is ReplayEnd.DONE
        assert not turns.is_asked(hands.account.pk)


class TestWindow:
    def test_what_waits_for_something_parked_does_not_hide_what_is_behind_it(
        self, hands: Hands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sync.replay.run.WINDOW", 2)
        hands.deliver(*(message_bytes(str(number)) for number in range(6)))
        some = NumberSet.from_numbers(range(1, 6))
        hands.copy("Archive", uids=some)
        Mutation.objects.update(state=MutationState.PARKED)
        hands.delete(uids=some)
        hands.store("\\Seen", uids=NumberSet.from_numbers([6]))
        assert hands.replay() is ReplayEnd.DONE
        assert {kind for kind, _, _ in hands.unsettled()} == {"copy", "expunge"}
        assert [flags for _, flags in hands.there()].count(frozenset({"\\Seen"})) == 1


class TestCost:
    def test_ten_thousand_flag_changes_are_a_handful_of_commands(self, hands: Hands) -> None:
        data = [message_bytes(str(number)) for number in range(2)]
        hands.deliver(*data)
        _pretend(hands, 10_000)
        hands.store("\\Seen", "$Work")
        assert Mutation.objects.count() == 10_000
        before = hands.proxy.counts()["UID STORE"]
        assert hands.replay() is ReplayEnd.DONE
        assert hands.proxy.counts()["UID STORE"] - before == 1
        assert hands.unsettled() == []
        assert [flags for _, flags in hands.there()] == [{"\\Seen", "$Work"}] * 2

    def test_a_thousand_appends_are_batched(self, hands: Hands) -> None:
        hands.sync()
        hands.append(*(message_bytes(str(number)) for number in range(1000)))
        assert hands.replay() is ReplayEnd.DONE
        assert hands.proxy.counts()["APPEND"] == 10
        assert len(set(Message.objects.values_list("remote__uid", flat=True))) == 1000
        assert hands.unsettled() == []

    def test_what_it_costs_the_upstream_is_counted(self, hands: Hands) -> None:
        hands.deliver(message_bytes("one"))
        hands.store("\\Seen")
        hands.replay()
        assert UpstreamUsage.objects.get(account=hands.account, kind="UID STORE").commands == 1


def _pretend(hands: Hands, count: int) -> None:
    """Have the mirror know as many messages as that, of which the upstream has the first two."""
    inbox = hands.mailbox("INBOX")
    fence = make_fence(hands.account)
    rows = [skeleton_row(uid) for uid in range(3, count + 1)]
    add_messages(fence=fence, mailbox_id=inbox.pk, uidvalidity=inbox.upstream_uidvalidity or 0, rows=rows)
    leases.release(fence)


class TestLabels:
    def test_nothing_is_expunged_where_a_mailbox_has_become_a_label(self, hands: Hands) -> None:
        data = message_bytes("one")
        hands.deliver(data)
        hands.delete()
        Mailbox.objects.filter(account=hands.account, name="INBOX").update(label="\\Inbox")
        assert hands.replay() is ReplayEnd.DONE
        assert [one for one, _ in hands.there()] == [data]
        assert [(kind, state) for kind, state, _ in hands.unsettled()] == [("expunge", "pending")]
