"""The audit against a real Dovecot: what it costs, what it finds, and that the next sync repairs it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from random import Random

import pytest
from django.utils import timezone

from mailcache.flags import FlagSet
from mailcache.models import Account, AccountState, LeaseKind, Listing, Mailbox, Message, Remote
from mailcache.services import accounts, leases
from sync.account_run import SliceEnd, run_account_until_done
from sync.audit import AuditEnd, _some, audit_account
from sync.models import Checkpoint, SyncKind, SyncRun, UpstreamUsage
from sync.services.audits import claim_audits
from tests.builders import make_account, message_bytes
from tests.fakes.recording_proxy import RecordingProxy
from tests.servers.dovecot import Dovecot
from tests.sync.mirror import mirrored, upstream
from tests.sync.one_mailbox import OneMailbox

pytestmark = pytest.mark.dovecot


@pytest.fixture
def proxy(dovecot: Dovecot) -> Iterator[RecordingProxy]:
    with RecordingProxy(dovecot.host, dovecot.plain_port) as recording:
        yield recording


@pytest.fixture
def account(transactional_db: None, dovecot: Dovecot, upstream_user: str, proxy: RecordingProxy) -> Account:
    """An account in step with three messages in INBOX, of which only INBOX can be audited."""
    for number, flags in enumerate([(), ("\\Seen",), ("\\Flagged", "Work")]):
        dovecot.deliver(upstream_user, message_bytes(f"{number}"), "INBOX", flags=flags)
    account = make_account(port=proxy.port, username=upstream_user, secret=dovecot.password)
    sync(account)
    Mailbox.objects.exclude(name="INBOX").update(sync_paused_reason="not in this test")
    return account


def sync(account: Account) -> None:
    assert run_account_until_done(account.pk) is SliceEnd.DONE


def commands_after_login(proxy: RecordingProxy, before: int) -> list[str]:
    asked = [command.verb for command in proxy.commands()[before:]]
    return asked[next(place for place, verb in enumerate(asked) if verb in ("EXAMINE", "SELECT")) :]


def checkpoint(account: Account) -> Checkpoint:
    return Checkpoint.objects.get(account=account, mailbox__name="INBOX")


def test_an_unchanged_mailbox_costs_two_commands(account: Account, proxy: RecordingProxy) -> None:
    before = len(proxy.commands())
    assert audit_account(account.pk) is AuditEnd.AGREED
    assert commands_after_login(proxy, before) == ["EXAMINE", "UID FETCH", "LOGOUT"]
    row = checkpoint(account)
    assert row.audited_at is not None
    assert (row.audit_differences, row.full_wanted, row.wanted_at) == (0, False, None)


def test_its_commands_are_counted(account: Account) -> None:
    UpstreamUsage.objects.all().delete()
    audit_account(account.pk)
    usage = dict(UpstreamUsage.objects.filter(account=account).values_list("kind", "commands"))
    assert (usage["EXAMINE"], usage["UID FETCH"]) == (1, 1)


class TestDifferences:
    def assert_found_and_repaired(self, account: Account, dovecot: Dovecot, user: str) -> None:
        assert audit_account(account.pk) is AuditEnd.DIFFERED
        row = checkpoint(account)
        assert (row.audit_differences, row.full_wanted) == (1, True)
        sync(account)
        assert mirrored(account)["INBOX"] == upstream(dovecot, user, "INBOX")["INBOX"]
        assert audit_account(account.pk) is AuditEnd.AGREED
        assert checkpoint(account).audit_differences == 1

    def test_flags_that_were_never_agreed(self, account: Account, dovecot: Dovecot, upstream_user: str) -> None:
        Remote.objects.filter(uid=1).update(flags=31)
        Message.objects.filter(remote__uid=1).update(flags=31)
        self.assert_found_and_repaired(account, dovecot, upstream_user)

    def test_flags_that_clients_see_wrong(self, account: Account, dovecot: Dovecot, upstream_user: str) -> None:
        Message.objects.filter(remote__uid=3).update(keywords=["Play"])
        self.assert_found_and_repaired(account, dovecot, upstream_user)

    def test_a_message_that_is_lost_here(self, account: Account, dovecot: Dovecot, upstream_user: str) -> None:
        Listing.objects.all().delete()
        Message.objects.filter(remote__uid=2).delete()
        Remote.objects.filter(uid=2).delete()
        assert audit_account(account.pk) is AuditEnd.DIFFERED
        sync(account)
        assert sorted(mirrored(account)["INBOX"]) == sorted(upstream(dovecot, upstream_user, "INBOX")["INBOX"])

    def test_a_message_that_no_client_sees(self, account: Account, dovecot: Dovecot, upstream_user: str) -> None:
        Message.objects.filter(remote__uid=2).delete()
        assert audit_account(account.pk) is AuditEnd.DIFFERED
        sync(account)
        assert sorted(mirrored(account)["INBOX"]) == sorted(upstream(dovecot, upstream_user, "INBOX")["INBOX"])

    def test_a_message_that_is_gone_upstream(self, account: Account, dovecot: Dovecot, upstream_user: str) -> None:
        inbox = Mailbox.objects.get(name="INBOX")
        known = Remote.objects.get(uid=3)
        extra = Remote.objects.create(account=account, mailbox=inbox, uidvalidity=known.uidvalidity, uid=99)
        message = Message.objects.get(remote=known)
        message.pk, message.uid, message.remote = None, 99, extra
        message.save(force_insert=True)
        Mailbox.objects.filter(pk=inbox.pk).update(uidnext=100)
        self.assert_found_and_repaired(account, dovecot, upstream_user)


class TestNothingToFind:
    def test_new_mail_is_left_to_the_sync(
        self, account: Account, dovecot: Dovecot, upstream_user: str, proxy: RecordingProxy
    ) -> None:
        dovecot.deliver(upstream_user, message_bytes("new"), "INBOX")
        before = len(proxy.commands())
        assert audit_account(account.pk) is AuditEnd.NOTHING
        assert commands_after_login(proxy, before) == ["EXAMINE", "LOGOUT"]
        row = checkpoint(account)
        assert (row.audit_differences, row.full_wanted, row.wanted_at is not None) == (0, False, True)

    def test_a_mailbox_that_waits_for_a_sync(self, account: Account, proxy: RecordingProxy) -> None:
        Checkpoint.objects.update(wanted_at=timezone.now())
        assert audit_account(account.pk) is AuditEnd.NOTHING

    @pytest.mark.parametrize("change", [{"state": AccountState.FAILING}, {"sync_paused": True}])
    def test_accounts_that_are_not_well(
        self, account: Account, proxy: RecordingProxy, change: dict[str, object]
    ) -> None:
        Account.objects.update(**change)
        before = len(proxy.commands())
        assert audit_account(account.pk) is AuditEnd.NOTHING
        assert len(proxy.commands()) == before

    def test_a_mailbox_of_a_label(self, account: Account, proxy: RecordingProxy) -> None:
        Mailbox.objects.filter(name="INBOX").update(label="\\Inbox")
        before = len(proxy.commands())
        assert audit_account(account.pk) is AuditEnd.NOTHING
        assert len(proxy.commands()) == before

    def test_while_somebody_syncs(self, account: Account) -> None:
        assert leases.acquire(account_id=account.pk, kind=LeaseKind.SYNC, holder="a worker") is not None
        assert audit_account(account.pk) is AuditEnd.BUSY

    def test_between_the_slices_of_a_run(self, account: Account) -> None:
        SyncRun.objects.create(account=account, kind=SyncKind.FULL)
        assert audit_account(account.pk) is AuditEnd.BUSY

    def test_an_upstream_that_is_away(self, account: Account, proxy: RecordingProxy) -> None:
        proxy.refuse()
        assert audit_account(account.pk) is AuditEnd.FAILED
        account.refresh_from_db()
        assert account.state == AccountState.ACTIVE


def test_the_mailbox_that_waited_longest_comes_first(account: Account, proxy: RecordingProxy) -> None:
    Mailbox.objects.update(sync_paused_reason="")
    names = set(Checkpoint.objects.filter(account=account).values_list("mailbox__name", flat=True))
    assert len(names) > 1
    for _ in names:
        assert audit_account(account.pk) is AuditEnd.AGREED
    assert not Checkpoint.objects.filter(account=account, audited_at=None).exists()


@pytest.mark.django_db(transaction=True)
class TestWithoutHighestmodseq:
    @pytest.fixture
    def scripted(self) -> Iterator[OneMailbox]:
        with OneMailbox(4) as server:
            yield server

    @pytest.fixture
    def account(self, transactional_db: None, scripted: OneMailbox) -> Account:
        account = make_account(port=scripted.port)
        sync(account)
        return account

    def test_flags_that_changed_unnoticed_are_read_but_nobodys_fault(
        self, account: Account, scripted: OneMailbox
    ) -> None:
        scripted.flags[2] = b"\\Answered"
        assert audit_account(account.pk) is AuditEnd.DIFFERED
        row = checkpoint(account)
        assert (row.audit_differences, row.full_wanted) == (0, True)
        sync(account)
        assert FlagSet.of(Message.objects.get(remote__uid=2).flags).names() == ("\\Answered",)
        assert audit_account(account.pk) is AuditEnd.AGREED

    def test_an_answer_that_leaves_messages_out_proves_nothing(self, account: Account, scripted: OneMailbox) -> None:
        scripted.without_flags = {3}
        assert audit_account(account.pk) is AuditEnd.NOTHING
        row = checkpoint(account)
        assert (row.audited_at, row.audit_differences, row.full_wanted) == (None, 0, False)


def test_busy_mailboxes_do_not_keep_the_others_waiting() -> None:
    checkpoints = [Checkpoint(pk=number) for number in range(20)]
    chosen = [[row.pk for row in _some(checkpoints, Random(seed))] for seed in range(200)]
    assert all(row[:3] == [0, 1, 2] and len(set(row)) == 6 for row in chosen)
    assert {pk for row in chosen for pk in row} == set(range(20))
    assert [row.pk for row in _some(checkpoints[:2], Random(1))] == [0, 1]


class TestSchedule:
    def test_every_account_about_once_an_hour(self, account: Account) -> None:
        now = timezone.now()
        assert claim_audits(now=now, limit=10) == [account.pk]
        assert claim_audits(now=now, limit=10) == []
        account.refresh_from_db()
        assert timedelta(minutes=54) <= account.next_audit_at - now <= timedelta(minutes=66)

    def test_bounded_and_only_accounts_that_are_well(self, account: Account) -> None:
        others = [make_account() for _ in range(3)]
        accounts.pause_sync(account_id=others[0].pk, paused=True)
        Account.objects.filter(pk=others[1].pk).update(state=AccountState.FAILING)
        now = timezone.now()
        first, second = claim_audits(now=now, limit=1), claim_audits(now=now, limit=10)
        assert sorted(first + second) == sorted([account.pk, others[2].pk])
        assert len(first) == 1
