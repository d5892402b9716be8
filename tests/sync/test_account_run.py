"""A whole sync of an account from a real Dovecot: first, second, resumed, and when things fail."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from mailcache.models import (
    Account,
    AccountState,
    AuthMethod,
    Change,
    Lease,
    LeaseKind,
    Listing,
    Mailbox,
    MailboxRole,
    Message,
    Segment,
    TlsMode,
)
from mailcache.services import accounts, ingest_skeleton, leases
from sync.account_run import SliceEnd, run_account_until_done, run_slice
from sync.models import Checkpoint, SyncOutcome, SyncRun
from tests.builders import let_time_pass, message_bytes
from tests.servers.dovecot import Dovecot, free_port
from tests.sync.mirror import mirrored, upstream
from tests.sync.wants import want_inbox

pytestmark = pytest.mark.dovecot

LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 300_000


def sync(account: Account) -> None:
    assert run_account_until_done(account.pk) is SliceEnd.DONE
    run = SyncRun.objects.latest("started_at")
    assert (run.outcome, run.reason) == (SyncOutcome.COMPLETED, "")
    account.refresh_from_db()
    assert account.state == AccountState.ACTIVE


def fill(dovecot: Dovecot, user: str, count: int, mailbox: str = "INBOX") -> None:
    with dovecot.login(user) as client:
        for number in range(count):
            flags = ["", "\\Seen", "\\Flagged Work"][number % 3]
            client.append(f'"{mailbox}"', f"({flags})", '"17-May-2024 10:30:00 +0200"', message_bytes(f"{number}"))


def commands_of(account: Account) -> int:
    return SyncRun.objects.filter(account=account).latest("started_at").commands


class TestFirstSync:
    def test_everything_is_mirrored_byte_for_byte(self, dovecot: Dovecot, account: Account, upstream_user: str) -> None:
        with dovecot.login(upstream_user) as client:
            client.create('"Projects/Gr&APwA3w-e"')
        fill(dovecot, upstream_user, 12)
        fill(dovecot, upstream_user, 5, "Projects/Gr&APwA3w-e")
        dovecot.deliver(upstream_user, LARGE, "Sent", flags=("\\Seen",))
        dovecot.deliver(upstream_user, LARGE, "Sent")

        sync(account)

        here = mirrored(account)
        there = upstream(dovecot, upstream_user, "INBOX", "Projects/Gr&APwA3w-e", "Sent", "Drafts")
        assert here["INBOX"] == there["INBOX"]
        assert here["Projects/Grüße"] == there["Projects/Gr&APwA3w-e"]
        assert here["Sent"] == there["Sent"]
        assert here["Drafts"] == []
        assert not Listing.objects.exists()
        # Equal bytes are kept once.
        assert Segment.objects.filter(size=len(LARGE), state="live").count() == 1

    def test_roles_dates_and_counters(self, dovecot: Dovecot, account: Account, upstream_user: str) -> None:
        fill(dovecot, upstream_user, 3)
        sync(account)
        roles = dict(Mailbox.objects.filter(account=account).values_list("name", "role"))
        assert roles["INBOX"] == MailboxRole.INBOX
        assert roles["Sent"] == MailboxRole.SENT
        assert roles["Trash"] == MailboxRole.TRASH
        message = Message.objects.filter(account=account).earliest("uid")
        assert message.internal_date.isoformat() == "2024-05-17T08:30:00+00:00"
        run = SyncRun.objects.get(account=account)
        assert (run.messages_added, run.bodies_added, run.bodies_remaining) == (3, 3, 0)
        assert run.bytes_in > 0
        account.refresh_from_db()
        assert account.next_sync_at > timezone.now() + timedelta(minutes=30)

    def test_reading_leaves_no_trace_upstream(self, dovecot: Dovecot, account: Account, upstream_user: str) -> None:
        fill(dovecot, upstream_user, 3)
        before = upstream(dovecot, upstream_user, "INBOX")
        sync(account)
        assert upstream(dovecot, upstream_user, "INBOX") == before

    def test_commands_are_counted_in_batches(self, dovecot: Dovecot, account: Account, upstream_user: str) -> None:
        fill(dovecot, upstream_user, 40)
        sync(account)
        mailboxes = Mailbox.objects.filter(account=account).count()
        # Log in, list, look at every mailbox; skeleton and bodies of one of them.
        assert commands_of(account) <= 2 * mailboxes + 10


class TestSecondSync:
    def test_new_changed_and_gone(self, dovecot: Dovecot, account: Account, upstream_user: str) -> None:
        fill(dovecot, upstream_user, 9)
        sync(account)
        kept = dict(Message.objects.filter(account=account).values_list("remote__uid", "uid"))
        with dovecot.login(upstream_user) as client:
            client.select("INBOX")
            client.uid("STORE", "1", "+FLAGS", "(\\Answered Later)")
            client.uid("STORE", "2", "-FLAGS", "(\\Seen)")
            client.uid("STORE", "4,7", "+FLAGS", "(\\Deleted)")
            client.expunge()
        dovecot.deliver(upstream_user, message_bytes("new"))

        sync(account)

        assert mirrored(account)["INBOX"] == upstream(dovecot, upstream_user, "INBOX")["INBOX"]
        now = dict(Message.objects.filter(account=account).values_list("remote__uid", "uid"))
        assert {uid: now[uid] for uid in now if uid in kept} == {uid: kept[uid] for uid in kept if uid not in (4, 7)}
        run = SyncRun.objects.latest("started_at")
        assert (run.messages_added, run.flags_changed, run.messages_removed, run.bodies_added) == (1, 2, 2, 1)

    def test_an_unchanged_account_is_not_written_to(
        self, dovecot: Dovecot, account: Account, upstream_user: str
    ) -> None:
        fill(dovecot, upstream_user, 9)
        sync(account)
        changes = Change.objects.count()
        sync(account)
        assert Change.objects.count() == changes
        # Log in (5), LIST, and at most three commands in a mailbox that has messages.
        assert commands_of(account) <= 5 + 1 + 3 + 2 * (Mailbox.objects.count() - 1) + 1

    def test_an_emptied_mailbox_is_believed_the_second_time(
        self, dovecot: Dovecot, account: Account, upstream_user: str
    ) -> None:
        fill(dovecot, upstream_user, 2)
        sync(account)
        with dovecot.login(upstream_user) as client:
            client.select("INBOX")
            client.uid("STORE", "1:*", "+FLAGS", "(\\Deleted)")
            client.expunge()

        for _ in range(2):
            assert run_account_until_done(account.pk) is SliceEnd.DONE
            assert "2 messages are gone" in SyncRun.objects.latest("started_at").reason
            assert Message.objects.filter(account=account).count() == 2
        account.refresh_from_db()
        assert account.next_sync_at < timezone.now() + timedelta(minutes=2)

        Checkpoint.objects.filter(gone_seen_at__isnull=False).update(gone_seen_at=timezone.now() - timedelta(hours=1))
        sync(account)
        assert Message.objects.filter(account=account).count() == 0

    def test_a_renumbered_mailbox_is_read_anew(self, dovecot: Dovecot, account: Account, upstream_user: str) -> None:
        with dovecot.login(upstream_user) as client:
            client.create("Work")
        fill(dovecot, upstream_user, 3, "Work")
        sync(account)
        first = Checkpoint.objects.get(mailbox__name="Work").uidvalidity
        with dovecot.login(upstream_user) as client:
            client.delete("Work")
            client.create("Work")
        fill(dovecot, upstream_user, 2, "Work")

        sync(account)

        checkpoint = Checkpoint.objects.get(mailbox__name="Work")
        if checkpoint.uidvalidity == first:
            pytest.skip("Dovecot gave the new mailbox the UIDVALIDITY of the old one: same second")
        assert mirrored(account)["Work"] == upstream(dovecot, upstream_user, "Work")["Work"]

    def test_a_wanted_inbox_is_compared_alone(self, dovecot: Dovecot, account: Account, upstream_user: str) -> None:
        fill(dovecot, upstream_user, 2)
        sync(account)
        dovecot.deliver(upstream_user, message_bytes("new"))
        assert want_inbox(account_id=account.pk)

        assert run_slice(account.pk) is SliceEnd.DONE

        assert mirrored(account)["INBOX"] == upstream(dovecot, upstream_user, "INBOX")["INBOX"]
        assert SyncRun.objects.latest("started_at").kind == "changed"
        assert commands_of(account) <= 11

    def test_a_deleted_mailbox_goes_when_two_lists_agree(
        self, dovecot: Dovecot, account: Account, upstream_user: str
    ) -> None:
        with dovecot.login(upstream_user) as client:
            client.create("Old")
        fill(dovecot, upstream_user, 2, "Old")
        sync(account)
        with dovecot.login(upstream_user) as client:
            client.delete("Old")

        sync(account)
        assert Mailbox.objects.get(name="Old").messages == 2
        account.refresh_from_db()
        assert account.next_sync_at < timezone.now() + timedelta(minutes=2)
        sync(account)
        assert Mailbox.objects.get(name="Old").messages == 2
        let_time_pass(account, timedelta(seconds=30))
        sync(account)
        assert not Mailbox.objects.filter(name="Old").exists()


class TestSlices:
    def test_work_in_the_shortest_slices_gives_the_same(
        self, dovecot: Dovecot, account: Account, upstream_user: str
    ) -> None:
        fill(dovecot, upstream_user, 30)
        fill(dovecot, upstream_user, 4, "Sent")
        ends = [run_slice(account.pk, full=True, seconds=0.0)]
        while ends[-1] is SliceEnd.MORE:
            assert len(ends) < 100
            ends.append(run_slice(account.pk, seconds=0.0))

        assert ends[-1] is SliceEnd.DONE
        assert len(ends) > 3
        run = SyncRun.objects.get()
        assert (run.slices, run.messages_added, run.bodies_added) == (len(ends), 34, 34)
        here = mirrored(account)
        there = upstream(dovecot, upstream_user, "INBOX", "Sent")
        assert (here["INBOX"], here["Sent"]) == (there["INBOX"], there["Sent"])

    def test_one_worker_at_a_time(self, account: Account) -> None:
        fence = leases.acquire(account_id=account.pk, kind=LeaseKind.SYNC, holder="another")
        assert fence is not None
        assert run_slice(account.pk, full=True) is SliceEnd.BUSY
        leases.release(fence)
        account.refresh_from_db()
        assert account.next_sync_at <= timezone.now()
        assert run_slice(account.pk) is SliceEnd.DONE

    def test_a_worker_that_lost_its_lease_does_no_harm(
        self, dovecot: Dovecot, account: Account, upstream_user: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(dovecot, upstream_user, 3)
        add_messages = ingest_skeleton.add_messages

        def taken_over_before(**arguments: object) -> int:
            thread = threading.Thread(target=_take_over, args=(account.pk,))
            thread.start()
            thread.join()
            return add_messages(**arguments)  # type: ignore[arg-type] # passed on as they are

        monkeypatch.setattr("sync.skeleton.add_messages", taken_over_before)
        assert run_slice(account.pk, full=True) is SliceEnd.LOST
        assert not Message.objects.exists()
        assert SyncRun.objects.get().finished_at is None


def _take_over(account_id: int) -> None:
    Lease.objects.filter(account_id=account_id).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert leases.acquire(account_id=account_id, kind=LeaseKind.SYNC, holder="another") is not None
    connection.close()


class TestFailures:
    def test_refused_credentials_stop_the_account_until_they_change(self, dovecot: Dovecot, account: Account) -> None:
        accounts.change_upstream(
            account_id=account.pk, host=account.host, port=account.port, username=account.username,
            tls_mode=TlsMode.PLAIN, auth_method=AuthMethod.LOGIN, secret="wrong",
        )  # fmt: skip
        assert run_account_until_done(account.pk) is SliceEnd.FAILED
        account.refresh_from_db()
        assert account.state == AccountState.AUTH_FAILED
        assert account.state_reason
        assert run_account_until_done(account.pk) is SliceEnd.STOPPED

        accounts.change_upstream(
            account_id=account.pk, host=account.host, port=account.port, username=account.username,
            tls_mode=TlsMode.PLAIN, auth_method=AuthMethod.LOGIN, secret=dovecot.password,
        )  # fmt: skip
        assert run_account_until_done(account.pk) is SliceEnd.DONE

    def test_an_upstream_that_is_away_is_tried_again_soon(self, account: Account) -> None:
        Account.objects.filter(pk=account.pk).update(port=free_port())
        assert run_account_until_done(account.pk) is SliceEnd.FAILED
        account.refresh_from_db()
        assert (account.state, account.failures) == (AccountState.FAILING, 1)
        assert timezone.now() < account.next_sync_at < timezone.now() + timedelta(seconds=60)
        assert SyncRun.objects.get().outcome == SyncOutcome.FAILED

    def test_a_paused_account_is_left_alone(self, account: Account) -> None:
        accounts.pause_sync(account_id=account.pk, paused=True)
        assert run_slice(account.pk, full=True) is SliceEnd.STOPPED
        assert not SyncRun.objects.exists()

    def test_a_mailbox_that_cannot_be_opened_does_not_stop_the_others(
        self, dovecot: Dovecot, account: Account, upstream_user: str
    ) -> None:
        with dovecot.login(upstream_user) as client:
            client.create("Locked")
        fill(dovecot, upstream_user, 2)
        (dovecot.ca_file.parent / "mail" / upstream_user / ".Locked" / "cur").chmod(0)

        assert run_account_until_done(account.pk) is SliceEnd.DONE

        run = SyncRun.objects.latest("started_at")
        assert run.outcome == SyncOutcome.PARTLY
        assert "Locked" in run.reason
        assert mirrored(account)["INBOX"] == upstream(dovecot, upstream_user, "INBOX")["INBOX"]
        checkpoint = Checkpoint.objects.get(mailbox__name="Locked")
        assert checkpoint.retry_at is not None
        assert checkpoint.retry_at > timezone.now()
