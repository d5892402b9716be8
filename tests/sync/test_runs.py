"""Runs and checkpoints: one open run per account, claims that notice newer requests, wants that are not lost."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from mailcache.errors import LeaseLost
from mailcache.models import Account, AccountState, AuthMethod, Mailbox, TlsMode
from mailcache.services import accounts, leases
from mailcache.services.leases import Fence
from sync.models import STALE_AFTER, Checkpoint, FailureCause, SyncKind, SyncOutcome, SyncRun
from sync.scheduling import Due, claim_due
from sync.services import checkpoints, runs
from sync.services.checkpoints import Finding
from sync.services.runs import Counters
from sync.tiers import UpstreamState
from tests.builders import make_account, make_fence, make_mailboxes
from tests.sync.wants import want_inbox

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
STATE = UpstreamState(uidvalidity=7, uidnext=10, highestmodseq=None, exists=3)


@pytest.fixture
def account() -> Account:
    return make_account()


@pytest.fixture
def fence(account: Account) -> Fence:
    return make_fence(account)


def claimed(now: datetime) -> list[int]:
    return [due.account_id for due in claim_due(now=now)]


def begin(fence: Fence, *, full: bool = False, now: datetime | None = None) -> SyncRun:
    return runs.begin_slice(fence=fence, full=full, now=now or timezone.now())


def complete(fence: Fence, run: SyncRun, *, not_later_than: datetime | None = None) -> None:
    runs.complete_run(
        fence=fence,
        run=run,
        counters=Counters(messages_added=3),
        reason="",
        next_sync_at=timezone.now() + HOUR,
        not_later_than=not_later_than,
    )


def fail(fence: Fence, run: SyncRun, state: AccountState = AccountState.FAILING) -> None:
    runs.fail_run(
        fence=fence,
        run=run,
        counters=Counters(),
        state=state,
        reason="away",
        cause=FailureCause.NETWORK,
        next_sync_at=timezone.now() + HOUR,
    )


class TestRuns:
    def test_a_run_spans_slices_and_keeps_its_counters(self, fence: Fence) -> None:
        first = begin(fence)
        runs.beat(run=first, counters=Counters(messages_added=2), remaining=5)
        second = begin(fence)

        assert (second.pk, second.slices, second.kind) == (first.pk, 2, SyncKind.FULL)
        assert second.compare_since == first.compare_since
        assert Counters.of(second).messages_added == 2
        assert SyncRun.objects.get().bodies_remaining == 5

    def test_completion_sets_the_next_date(self, fence: Fence, account: Account) -> None:
        run = begin(fence)
        complete(fence, run)

        account.refresh_from_db()
        assert account.state == AccountState.ACTIVE
        assert account.next_sync_at > timezone.now() + HOUR / 2
        assert SyncRun.objects.get().outcome == SyncOutcome.COMPLETED
        assert SyncRun.objects.get().messages_added == 3

    def test_what_was_put_off_brings_the_next_date_forward(self, fence: Fence, account: Account) -> None:
        soon = timezone.now() + timedelta(minutes=1)
        complete(fence, begin(fence), not_later_than=soon)
        account.refresh_from_db()
        assert account.next_sync_at == soon

    def test_a_request_during_a_run_is_not_lost(self, fence: Fence, account: Account) -> None:
        run = begin(fence)
        accounts.request_sync(account_id=account.pk)
        runs.beat(run=run, counters=Counters())
        complete(fence, run)
        account.refresh_from_db()
        assert account.next_sync_at <= timezone.now()

    def test_a_request_between_slices_starts_the_comparison_anew(self, fence: Fence, account: Account) -> None:
        first = begin(fence)
        runs.beat(run=first, counters=Counters(), claim_for=runs.QUEUED_CLAIM)
        accounts.request_sync(account_id=account.pk)
        claim_due(now=timezone.now())
        assert begin(fence).compare_since > first.compare_since

    def test_a_run_whose_worker_vanished_is_closed(self, fence: Fence) -> None:
        now = timezone.now()
        begin(fence, now=now - 2 * STALE_AFTER)
        begin(fence, now=now)
        assert list(SyncRun.objects.order_by("pk").values_list("outcome", flat=True)) == ["abandoned", "running"]

    def test_an_account_of_a_dead_worker_becomes_due_by_itself(self, fence: Fence, account: Account) -> None:
        now = timezone.now()
        begin(fence, now=now)
        assert claimed(now + timedelta(seconds=1)) == []
        assert claim_due(now=now + timedelta(minutes=1)) == [Due(account.pk, is_continued=True)]

    def test_failure_has_a_reason_and_a_date(self, fence: Fence, account: Account) -> None:
        fail(fence, begin(fence))
        account.refresh_from_db()
        assert (account.state, account.state_reason, account.failures) == (AccountState.FAILING, "away", 1)
        assert account.next_sync_at > timezone.now()
        assert SyncRun.objects.get().outcome == SyncOutcome.FAILED

    def test_refused_credentials_do_not_stop_an_account_that_got_new_ones(self, fence: Fence, account: Account) -> None:
        run = begin(fence)
        accounts.change_upstream(
            account_id=account.pk,
            host=account.host,
            port=account.port,
            username="new",
            tls_mode=TlsMode.PLAIN,
            auth_method=AuthMethod.LOGIN,
        )
        fail(fence, run, AccountState.AUTH_FAILED)
        assert claimed(timezone.now()) == [account.pk]

    def test_a_worker_that_lost_its_lease_cannot_end_the_run(self, fence: Fence, account: Account) -> None:
        run = begin(fence)
        leases.release(fence)
        make_fence(account)
        with pytest.raises(LeaseLost):
            complete(fence, run)
        assert SyncRun.objects.get().finished_at is None


class TestDue:
    def test_every_account_is_claimed_once(self, account: Account) -> None:
        now = timezone.now()
        assert claimed(now) == [account.pk]
        assert claimed(now) == []
        assert claimed(now + runs.QUEUED_CLAIM) == [account.pk]

    def test_paused_and_refused_accounts_are_left_alone(self, account: Account) -> None:
        accounts.pause_sync(account_id=account.pk, paused=True)
        assert claimed(timezone.now()) == []


class TestCheckpoints:
    @pytest.fixture
    def inbox(self, fence: Fence) -> Mailbox:
        (inbox,) = make_mailboxes(fence)
        Mailbox.objects.filter(pk=inbox.pk).update(role="inbox")
        return inbox

    def test_a_want_during_a_comparison_stays(self, fence: Fence, inbox: Mailbox) -> None:
        assert want_inbox(account_id=fence.account_id)
        before = checkpoints.checkpoint_of(fence=fence, mailbox_id=inbox.pk)
        want_inbox(account_id=fence.account_id)
        now = timezone.now()
        checkpoints.note_compared(fence=fence, before=before, state=STATE, compared_at=now)
        assert Checkpoint.objects.wanted(now).count() == 1

        before = checkpoints.checkpoint_of(fence=fence, mailbox_id=inbox.pk)
        checkpoints.note_compared(fence=fence, before=before, state=STATE, compared_at=now)
        assert Checkpoint.objects.wanted(now).count() == 0
        assert Checkpoint.objects.get().exists == 3

    def test_a_want_whose_message_was_lost_is_found(self, fence: Fence, inbox: Mailbox) -> None:
        want_inbox(account_id=fence.account_id)
        late = timezone.now() + timedelta(minutes=1)
        patience = timedelta(seconds=30)
        assert checkpoints.reclaim_wanted(now=timezone.now(), older_than=patience, limit=9) == []
        assert checkpoints.reclaim_wanted(now=late, older_than=patience, limit=9) == [fence.account_id]
        assert checkpoints.reclaim_wanted(now=late, older_than=patience, limit=9) == []

    def test_nobody_is_asked_to_sync_what_may_not_be(self, fence: Fence, inbox: Mailbox) -> None:
        want_inbox(account_id=fence.account_id)
        late = timezone.now() + timedelta(minutes=1)
        Account.objects.update(state=AccountState.AUTH_FAILED)
        assert checkpoints.reclaim_wanted(now=late, older_than=timedelta(seconds=30), limit=9) == []
        Account.objects.update(state=AccountState.ACTIVE)
        inbox.deleted_at = timezone.now()  # and replay has yet to delete it upstream
        inbox.save(update_fields=["deleted_at"])
        assert checkpoints.reclaim_wanted(now=late, older_than=timedelta(seconds=30), limit=9) == []
        assert not Checkpoint.objects.wanted(late).exists()

    def test_an_empty_answer_leaves_the_numbers_alone(self, fence: Fence, inbox: Mailbox) -> None:
        now = timezone.now()
        before = checkpoints.checkpoint_of(fence=fence, mailbox_id=inbox.pk)
        checkpoints.note_compared(fence=fence, before=before, state=STATE, compared_at=now)
        empty = UpstreamState(7, 10, None, 0)
        before = checkpoints.checkpoint_of(fence=fence, mailbox_id=inbox.pk)
        finding = Finding(held_back=[5, 6, 7])
        checkpoints.note_compared(fence=fence, before=before, state=empty, compared_at=now, finding=finding)
        after = Checkpoint.objects.get()
        assert (after.exists, after.gone_seen_at, after.gone_uids) == (3, now, "5:7")
        assert "3 messages" in after.reason

    def test_a_failed_mailbox_is_left_alone_for_a_while(self, fence: Fence, inbox: Mailbox) -> None:
        want_inbox(account_id=fence.account_id)
        retry_at = timezone.now() + HOUR
        checkpoints.note_failed(fence=fence, mailbox_id=inbox.pk, reason="no", retry_at=retry_at)
        assert not Checkpoint.objects.wanted(timezone.now()).exists()
        assert Checkpoint.objects.wanted(retry_at).exists()
