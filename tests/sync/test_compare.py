"""Comparing a mailbox with a real Dovecot, used as an upstream of each tier; commands are those that a proxy saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from mailcache.models import Account, Message, Remote
from sync import members
from sync.account_run import SliceEnd, run_slice
from sync.flag_polling import ALL_LATEST, RECENT_MESSAGES
from sync.models import Checkpoint, SyncRun
from sync.profiles import GENERIC
from tests.fakes.recording_proxy import Command, RecordingProxy
from tests.servers.dovecot import Dovecot
from tests.sync.compared import Mirror
from tests.sync.tiers import TIERS, use_profile, use_tier

pytestmark = [pytest.mark.dovecot, pytest.mark.django_db(transaction=True)]


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest) -> str:
    """Each tier in turn."""
    return str(request.param)


@pytest.fixture
def any_mirror(dovecot: Dovecot, upstream_user: str) -> Iterator[Mirror]:
    """A mirror of a user of Dovecot's."""
    with RecordingProxy(dovecot.host, dovecot.plain_port) as proxy:
        yield Mirror(dovecot, proxy, upstream_user)


@pytest.fixture
def mirror(any_mirror: Mirror, tier: str, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """The same, the upstream being one of this tier, without LIST-STATUS."""
    use_tier(monkeypatch, any_mirror.account, tier, hidden=frozenset({"LIST-STATUS"}))
    return any_mirror


def in_inbox(commands: list[Command]) -> list[Command]:
    """Return the commands from the opening of INBOX to the opening of another mailbox."""
    found, is_inbox = [], False
    for command in commands:
        if command.verb in ("EXAMINE", "SELECT"):
            is_inbox = command.arguments.split(b" ")[0].strip(b'"') == b"INBOX"
        if is_inbox:
            found.append(command)
    return found


def verbs(commands: list[Command]) -> list[str]:
    return [command.verb for command in commands]


def flags_are_due(account: Account) -> None:
    Checkpoint.objects.filter(account=account).update(
        flags_compared_at=timezone.now() - ALL_LATEST, recent_flags_at=timezone.now() - ALL_LATEST
    )


class TestCosts:
    def test_first_sync_new_mail_and_nothing_new(self, mirror: Mirror, tier: str) -> None:
        mirror.fill(8_300)
        first = in_inbox(mirror.sync())
        bodies = [command for command in first if b"BODY.PEEK[])" in command.arguments]
        assert Message.objects.count() == 8_300
        # A machine that is slow takes several slices, each of which opens the mailbox anew.
        slices = len({command.connection for command in first})
        assert len(first) <= 8_300 // 500 + len(bodies) + 5 + slices - 1
        assert all(b"MESSAGE-ID" not in command.arguments for command in first)

        assert verbs(in_inbox(mirror.sync())) == ["EXAMINE"]

        mirror.deliver(20)
        news = in_inbox(mirror.sync())
        assert verbs(news) == ["EXAMINE", "UID FETCH", "UID FETCH"]
        assert Message.objects.filter(content__isnull=False).count() == 8_320
        assert verbs(news).count("UID SEARCH") == 0

        assert verbs(in_inbox(mirror.sync())) == ["EXAMINE"]

    def test_a_list_with_status_spares_unchanged_mailboxes_every_command(
        self, any_mirror: Mirror, tier: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use_tier(monkeypatch, any_mirror.account, tier)
        any_mirror.deliver(3)
        any_mirror.sync()
        assert any_mirror.sync() == []

        any_mirror.deliver()
        assert {command.arguments.split(b" ")[0] for command in any_mirror.sync() if command.verb == "EXAMINE"} == {
            b"INBOX"
        }
        assert any_mirror.agrees()

    def test_a_mailbox_that_the_upstream_spoke_of_is_asked_in_spite_of_its_status(
        self, any_mirror: Mirror, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use_tier(monkeypatch, any_mirror.account, "qresync")
        any_mirror.deliver()
        any_mirror.sync()
        Checkpoint.objects.filter(mailbox__name="INBOX").update(wanted_at=timezone.now())
        assert verbs(any_mirror.sync()) == ["EXAMINE"]


class TestNews:
    def test_flags_changed_by_another_client(self, mirror: Mirror, tier: str) -> None:
        mirror.deliver(6)
        mirror.sync()
        mirror.edit(("STORE", "2,4", "+FLAGS", "(\\Answered Work)"), ("STORE", "5", "+FLAGS", "(\\Seen)"))
        flags_are_due(mirror.account)
        commands = in_inbox(mirror.sync())
        assert mirror.agrees()
        assert SyncRun.objects.latest("started_at").flags_changed == 3
        assert verbs(commands) == ["EXAMINE"] + ["UID FETCH"] * (tier != "qresync")
        assert mirror.checkpoint().flags_changed_at is not None

    def test_messages_expunged_by_another_client(self, mirror: Mirror, tier: str) -> None:
        mirror.deliver(6)
        mirror.sync()
        mirror.edit(("STORE", "1,3,6", "+FLAGS", "(\\Deleted)"), ("EXPUNGE",))
        commands = in_inbox(mirror.sync())
        assert mirror.agrees()
        assert SyncRun.objects.latest("started_at").messages_removed == 3
        assert ("UID SEARCH" in verbs(commands)) == (tier != "qresync")

    def test_everything_at_once(self, mirror: Mirror) -> None:
        mirror.deliver(8)
        mirror.sync()
        uids = dict(Remote.objects.filter(account=mirror.account).values_list("uid", "messages__uid"))
        mirror.edit(("STORE", "2", "+FLAGS", "(\\Flagged)"), ("STORE", "1,8", "+FLAGS", "(\\Deleted)"), ("EXPUNGE",))
        mirror.deliver(3)
        mirror.edit(("STORE", "10", "+FLAGS", "(\\Deleted)"), ("EXPUNGE",))
        flags_are_due(mirror.account)
        mirror.sync()
        assert mirror.agrees()
        now = dict(Remote.objects.filter(account=mirror.account).values_list("uid", "messages__uid"))
        assert {uid: now[uid] for uid in uids if uid in now} == {uid: uids[uid] for uid in (2, 3, 4, 5, 6, 7)}

        assert verbs(in_inbox(mirror.sync())) == ["EXAMINE"]

    def test_a_checkpoint_that_claims_more_than_is_here_repairs_itself(self, mirror: Mirror) -> None:
        # Field note 24: each chunk stored the upstream's numbers, and 90,000 messages were skipped for ever.
        mirror.deliver(5)
        mirror.sync()
        Message.objects.filter(remote__uid__in=[2, 3]).delete()
        Remote.objects.filter(uid__in=[2, 3]).delete()
        mirror.sync()
        assert set(Remote.objects.values_list("uid", flat=True)) == {1, 2, 3, 4, 5}

    def test_a_comparison_of_everything_finds_what_no_number_tells(self, mirror: Mirror) -> None:
        mirror.deliver(3)
        mirror.sync()
        Remote.objects.filter(uid=2).update(flags=4)
        Message.objects.filter(remote__uid=2).update(flags=4)
        mirror.sync()
        assert not mirror.agrees()

        Checkpoint.objects.update(full_wanted=True)
        mirror.sync()
        assert mirror.agrees()
        assert not Checkpoint.objects.filter(full_wanted=True).exists()

    def test_vanished_is_checked_against_a_list_where_it_is_not_trusted(
        self, any_mirror: Mirror, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Quirk 22: mail "disappears" when iCloud's VANISHED is believed.
        use_profile(monkeypatch, any_mirror.account, replace(GENERIC, name="wary", trust_vanished=False))
        any_mirror.deliver(3)
        any_mirror.sync()
        any_mirror.edit(("STORE", "2", "+FLAGS", "(\\Deleted)"), ("EXPUNGE",))
        assert verbs(in_inbox(any_mirror.sync())) == ["EXAMINE", "UID SEARCH"]
        assert any_mirror.agrees()


class TestCutOff:
    def test_numbers_are_kept_only_when_the_comparison_is_over(self, mirror: Mirror, tier: str) -> None:
        mirror.fill(1_100)
        assert run_slice(mirror.account.pk, full=True, seconds=0.0) is SliceEnd.MORE
        checkpoint = mirror.checkpoint()
        assert Remote.objects.count() == 500
        assert (checkpoint.uidnext, checkpoint.exists) == (None, None)
        # Only from where to read what changes meanwhile.
        assert (checkpoint.highestmodseq is None) == (tier == "plain")

        mirror.edit(("STORE", "100", "+FLAGS", "(\\Flagged)"))
        mirror.sync()
        assert Message.objects.get(remote__uid=100).flags == 4
        assert mirror.checkpoint().exists == 1_100

    def test_a_first_look_that_is_begun_again_takes_what_changed_meanwhile(self, mirror: Mirror) -> None:
        run_slice(mirror.account.pk, full=True)
        mirror.deliver(2)
        assert run_slice(mirror.account.pk, full=True, seconds=0.0) is SliceEnd.MORE
        assert Message.objects.count() == 2
        mirror.edit(("STORE", "2", "FLAGS", "(\\Seen Later)"))
        mirror.deliver()
        mirror.sync()
        assert mirror.agrees()

    def test_what_arrives_during_a_comparison_is_read_the_next_time(
        self, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mirror.deliver(2)
        mirror.sync()
        mirror.deliver()
        settle = members.Members.settle

        def disturbed(*arguments: object, **named: object) -> None:
            monkeypatch.setattr(members.Members, "settle", settle)
            mirror.deliver()
            mirror.edit(("STORE", "1", "+FLAGS", "(\\Flagged)"))
            settle(*arguments, **named)  # type: ignore[arg-type] # passed on as they are

        monkeypatch.setattr(members.Members, "settle", disturbed)
        mirror.sync()
        flags_are_due(mirror.account)
        mirror.sync()
        assert mirror.agrees()

    def test_reading_all_flags_goes_on_where_it_was_cut_off(
        self, any_mirror: Mirror, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use_tier(monkeypatch, any_mirror.account, "plain")
        monkeypatch.setattr("sync.flags._READ_MESSAGES", 2)
        any_mirror.deliver(6)
        any_mirror.sync()
        flags_are_due(any_mirror.account)
        any_mirror.edit(("STORE", "1:6", "+FLAGS", "(\\Flagged)"))

        below = []
        end = run_slice(any_mirror.account.pk, full=True, seconds=0.0)
        while end is SliceEnd.MORE:
            below.append(any_mirror.checkpoint().flags_below)
            end = run_slice(any_mirror.account.pk, seconds=0.0)
        assert [uid for uid in dict.fromkeys(below) if uid] == [5, 3, 1]
        assert any_mirror.agrees()
        assert any_mirror.checkpoint().flags_below is None

    @pytest.mark.parametrize(
        ("begun", "ended"), [("condstore", "condstore"), ("qresync", "qresync"), ("plain", "condstore")]
    )
    def test_what_changes_above_the_cut_is_read_when_the_rest_has_been(
        self, any_mirror: Mirror, monkeypatch: pytest.MonkeyPatch, begun: str, ended: str
    ) -> None:
        use_tier(monkeypatch, any_mirror.account, begun, hidden=frozenset({"LIST-STATUS"}))
        monkeypatch.setattr("sync.flags._READ_MESSAGES", 2)
        any_mirror.deliver(6)
        any_mirror.sync()
        Checkpoint.objects.filter(mailbox__name="INBOX").update(full_wanted=True)
        assert run_slice(any_mirror.account.pk, full=True, seconds=0.0) is SliceEnd.MORE
        assert any_mirror.checkpoint().flags_below == 5

        any_mirror.edit(("STORE", "6", "+FLAGS", "(\\Flagged)"))
        use_tier(monkeypatch, any_mirror.account, ended, hidden=frozenset({"LIST-STATUS"}))
        # Cut once more: what counts is when the reading began.
        assert run_slice(any_mirror.account.pk, seconds=0.0) is SliceEnd.MORE
        assert any_mirror.checkpoint().flags_below == 3
        any_mirror.sync()
        assert any_mirror.agrees()
        assert any_mirror.checkpoint().flags_modseq is None
        assert verbs(in_inbox(any_mirror.sync())) == ["EXAMINE"]


class TestFlagPolling:
    @pytest.fixture
    def mirror(self, any_mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> Mirror:
        use_tier(monkeypatch, any_mirror.account, "plain")
        monkeypatch.setattr("sync.compare.RECENT_MESSAGES", 3)
        any_mirror.deliver(6)
        any_mirror.sync()
        return any_mirror

    def test_the_newest_are_read_often_and_all_of_them_when_due(self, mirror: Mirror) -> None:
        mirror.edit(("STORE", "2,5", "+FLAGS", "(\\Flagged)"))
        now = timezone.now()
        Checkpoint.objects.update(recent_flags_at=now - timedelta(hours=1), flags_compared_at=now - timedelta(hours=1))
        Checkpoint.objects.update(flags_changed_at=now - timedelta(days=3))
        commands = in_inbox(mirror.sync())
        assert [command.arguments for command in commands][1:] == [b"4:6 (FLAGS)"]
        assert set(Message.objects.filter(flags=4).values_list("remote__uid", flat=True)) == {5}

        flags_are_due(mirror.account)
        assert [command.arguments for command in in_inbox(mirror.sync())][1:] == [b"1:6 (FLAGS)"]
        assert set(Message.objects.filter(flags=4).values_list("remote__uid", flat=True)) == {2, 5}

    def test_status_does_not_settle_a_mailbox_whose_flags_are_due(self, mirror: Mirror) -> None:
        assert mirror.sync() == []
        flags_are_due(mirror.account)
        assert "UID FETCH" in verbs(in_inbox(mirror.sync()))
        assert RECENT_MESSAGES > 3

    def test_a_mailbox_that_the_upstream_spoke_of_has_its_newest_flags_read(self, mirror: Mirror) -> None:
        mirror.edit(("STORE", "6", "+FLAGS", "(\\Flagged)"))
        Checkpoint.objects.filter(mailbox__name="INBOX").update(wanted_at=timezone.now())
        mirror.sync()
        assert mirror.agrees()


class TestIdentityItems:
    def test_message_ids_are_asked_of_new_mail_when_some_mail_is_known(self, any_mirror: Mirror) -> None:
        any_mirror.deliver(2)
        assert all(b"MESSAGE-ID" not in command.arguments for command in any_mirror.sync())
        any_mirror.deliver()
        asked = [command for command in any_mirror.sync() if b"RFC822.SIZE" in command.arguments]
        assert [b"BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]" in command.arguments for command in asked] == [True]


class TestMassDeletion:
    def test_many_deletions_are_held_back_until_seen_twice_and_all_else_goes_on(self, mirror: Mirror) -> None:
        mirror.deliver(40)
        mirror.sync()
        mirror.edit(("STORE", "1:25", "+FLAGS", "(\\Deleted)"), ("EXPUNGE",), ("STORE", "30", "+FLAGS", "(\\Flagged)"))
        mirror.deliver()
        flags_are_due(mirror.account)

        for _ in range(2):
            mirror.sync()
            assert Message.objects.filter(mailbox__name="INBOX").count() == 41
            assert Message.objects.get(remote__uid=30).flags == 4
            checkpoint = mirror.checkpoint()
            assert (checkpoint.gone_uids, checkpoint.failures) == ("1:25", 0)
            assert "25 messages are gone" in checkpoint.reason

        Checkpoint.objects.filter(pk=checkpoint.pk).update(gone_seen_at=timezone.now() - timedelta(seconds=31))
        mirror.sync()
        assert mirror.agrees()
        checkpoint = mirror.checkpoint()
        assert (checkpoint.gone_uids, checkpoint.gone_seen_at, checkpoint.reason) == ("", None, "")
        assert verbs(in_inbox(mirror.sync())) == ["EXAMINE"]

    def test_an_operator_may_confirm_and_a_cut_off_removal_goes_on(
        self, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sync.planner.CHUNK_MESSAGES", 10)
        mirror.deliver(40)
        mirror.sync()
        mirror.edit(("STORE", "1:30", "+FLAGS", "(\\Deleted)"), ("EXPUNGE",))
        mirror.sync()
        assert Message.objects.count() == 40
        Checkpoint.objects.filter(gone_seen_at__isnull=False).update(gone_confirmed=True)
        end = run_slice(mirror.account.pk, full=True, seconds=0.0)
        while end is SliceEnd.MORE:
            end = run_slice(mirror.account.pk, seconds=0.0)
        assert mirror.agrees()
        assert not Checkpoint.objects.filter(gone_confirmed=True).exists()

    @pytest.mark.parametrize(("share", "left"), [(90, 15), (50, 40)])
    def test_the_share_is_a_setting(self, any_mirror: Mirror, settings: Settings, share: int, left: int) -> None:
        settings.MASS_DELETION_SHARE = share
        any_mirror.deliver(40)
        any_mirror.sync()
        any_mirror.edit(("STORE", "1:25", "+FLAGS", "(\\Deleted)"), ("EXPUNGE",))
        any_mirror.sync()
        assert Message.objects.filter(mailbox__name="INBOX").count() == left
