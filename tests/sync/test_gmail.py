"""Accounts at Gmail, against the fake: mailboxes are labels of the messages of All Mail (field notes 2, rows 1-8)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from mailcache.flags import FlagSet
from mailcache.models import Account, AccountState, Listing, Mailbox, Message, Mutation, Remote
from mailcache.segments import read_range
from mailcache.services.flags import store_flags
from mailcache.wire.number_set import NumberSet
from sync.account_run import SliceEnd, run_account_until_done
from sync.models import Checkpoint, SyncOutcome, SyncRun
from tests.builders import make_account, message_bytes
from tests.fakes.gmail import ENGLISH, GERMAN, PASSWORD, USER, FakeGmail, Place
from tests.mailcache.deltas import adding
from tests.sync.wants import want_inbox

pytestmark = pytest.mark.django_db(transaction=True)

ALL = "[Gmail]/All Mail"
Shown = dict[str, list[tuple[bytes, frozenset[str]]]]


@pytest.fixture
def gmail() -> Iterator[FakeGmail]:
    with FakeGmail() as server:
        yield server


@pytest.fixture
def account(gmail: FakeGmail) -> Account:
    return account_at(gmail)


def account_at(gmail: FakeGmail) -> Account:
    account = make_account(port=gmail.port, username=USER, secret=PASSWORD)
    Account.objects.filter(pk=account.pk).update(profile="gmail")
    return account


def sync(account: Account) -> None:
    assert run_account_until_done(account.pk) is SliceEnd.DONE
    run = SyncRun.objects.latest("started_at")
    assert (run.outcome, run.reason) == (SyncOutcome.COMPLETED, "")
    account.refresh_from_db()
    assert account.state == AccountState.ACTIVE


def mirrored(account: Account) -> Shown:
    """All that is here, by mailbox; bytes that are missing fail the test."""
    found: Shown = {name: [] for name in account.mailboxes.filter(selectable=True).values_list("name", flat=True)}
    for message in (
        Message.objects.filter(account=account).select_related("mailbox", "content__segment").order_by("uid")
    ):
        assert message.content is not None
        assert message.content.segment is not None
        data = read_range(message.content.segment.name, message.content.offset, message.content.size)
        found[message.mailbox.name].append((data, frozenset(FlagSet.of(message.flags, message.keywords).names())))
    return found


def at_gmail(gmail: FakeGmail) -> Shown:
    """The same as Gmail shows it, in the order of All Mail."""
    mails, folders = gmail.account.mails, gmail.account.folders.values()
    return {
        folder.name: [(mails[msgid].data, frozenset(mails[msgid].flags)) for msgid in folder.uids]
        for folder in folders
        if folder.selectable
    }


def uids(account: Account) -> set[tuple[str, int, int]]:
    return set(Message.objects.filter(account=account).values_list("mailbox__name", "uid", "pk"))


class TestLabels:
    def test_every_mailbox_shows_its_messages_and_each_body_is_fetched_once(
        self, gmail: FakeGmail, account: Account
    ) -> None:
        for number in range(12):
            labels = [["\\Inbox", "\\Important"], ["\\Inbox", "Work/Ünder", "\\Starred"], ["\\Sent"], []][number % 4]
            gmail.account.deliver(message_bytes(f"{number}"), labels, flags=["\\Seen"] if number % 3 else [])
        gmail.account.deliver(message_bytes("junk"), place=Place.SPAM)
        gmail.account.deliver(message_bytes("trash"), place=Place.TRASH)

        sync(account)

        assert mirrored(account) == at_gmail(gmail)
        assert set(gmail.bodies.values()) == {1}
        assert len(gmail.bodies) == 14
        # Label mailboxes are never opened, and nothing is written.
        opened = {command.split(b" ", 1)[1].split(b" (")[0] for command in gmail.asked(b"EXAMINE")}
        assert opened == {b'"[Gmail]/All Mail"', b'"[Gmail]/Spam"', b'"[Gmail]/Trash"'}
        assert not gmail.asked(b"UID STORE")
        labels_of = dict(account.mailboxes.exclude(label="").values_list("name", "label"))
        assert labels_of["INBOX"] == "\\Inbox"
        assert labels_of["Work/Ünder"] == "Work/Ünder"
        assert labels_of["[Gmail]/Drafts"] == "\\Draft"
        assert ALL not in labels_of

    def test_names_in_another_language(self) -> None:
        with FakeGmail(GERMAN) as gmail:
            account = account_at(gmail)
            gmail.account.deliver(message_bytes(), ["\\Draft", "\\Starred"])
            gmail.account.deliver(message_bytes(), place=Place.TRASH)
            sync(account)
            here = mirrored(account)
            assert here == at_gmail(gmail)
            assert [len(here[f"[Google Mail]/{name}"]) for name in ("Entwürfe", "Markiert", "Papierkorb")] == [1, 1, 1]
            assert set(gmail.bodies.values()) == {1}

    def test_an_unchanged_account_costs_one_command(self, gmail: FakeGmail, account: Account) -> None:
        gmail.account.deliver(message_bytes())
        sync(account)
        sync(account)
        gmail.forget()
        sync(account)
        kinds = [command.split(b" ")[0] for command in gmail.commands]
        assert [kind for kind in kinds if kind not in {b"LOGIN", b"CAPABILITY", b"ID", b"ENABLE", b"LOGOUT"}] == [
            b"LIST"
        ]

    def test_label_changes_make_messages_appear_and_disappear(self, gmail: FakeGmail, account: Account) -> None:
        first, second = (gmail.account.deliver(message_bytes(f"{number}")) for number in range(2))
        sync(account)
        gmail.account.label(first, "Work")
        gmail.account.archive(second)
        gmail.forget()
        sync(account)
        assert mirrored(account) == at_gmail(gmail)
        assert len(mirrored(account)["INBOX"]) == len(mirrored(account)["Work"]) == 1
        assert not gmail.bodies
        gmail.account.unlabel(first, "Work")
        gmail.account.label(second, "\\Inbox", "\\Starred")
        sync(account)
        assert mirrored(account) == at_gmail(gmail)
        assert set(gmail.bodies) == set()

    def test_a_label_renamed_or_deleted(self, gmail: FakeGmail, account: Account) -> None:
        gmail.account.deliver(message_bytes(), ["Old"])
        gmail.account.deliver(message_bytes(), ["Other"])
        sync(account)
        gmail.account.delete_label("Other")
        gmail.account.rename_label("Old", "New")
        before = Message.objects.get(mailbox__name="Old")
        gmail.forget()
        sync(account)
        after = Message.objects.get(mailbox__name="New")
        assert (after.pk, after.uid, after.mailbox_id) == (before.pk, before.uid, before.mailbox_id)
        Mailbox.objects.filter(name="Other").update(missed_since=timezone.now() - timedelta(hours=1))
        sync(account)
        assert mirrored(account) == at_gmail(gmail)
        assert not gmail.bodies

    def test_a_label_that_is_shown_later_is_filled(self, gmail: FakeGmail, account: Account) -> None:
        gmail.account.deliver(message_bytes(), ["\\Inbox", "Late"])
        late = gmail.account.folders.pop("Late")
        sync(account)
        gmail.account.folders["Late"] = late
        sync(account)
        assert mirrored(account) == at_gmail(gmail)

    def test_inbox_is_fetched_before_the_rest(self, gmail: FakeGmail, account: Account) -> None:
        inbox = [gmail.account.deliver(message_bytes(f"{number}")) for number in range(2)]
        sent = gmail.account.deliver(message_bytes("sent"), ["\\Sent"])
        archived = [gmail.account.deliver(message_bytes(f"archived {number}"), []) for number in range(3)]
        sync(account)
        assert [set(batch) for batch in gmail.body_order] == [set(inbox), {sent}, set(archived)]


class TestFlags:
    def test_changed_on_the_web_they_change_in_every_mailbox(self, gmail: FakeGmail, account: Account) -> None:
        msgid = gmail.account.deliver(message_bytes(), ["\\Inbox", "Work"])
        sync(account)
        gmail.account.flag(msgid, "\\Seen", "\\Flagged")
        sync(account)
        assert mirrored(account) == at_gmail(gmail)
        assert len(mirrored(account)["[Gmail]/Starred"]) == 1

    def test_changed_here_they_change_in_every_mailbox_and_stay(self, gmail: FakeGmail, account: Account) -> None:
        gmail.account.deliver(message_bytes(), ["\\Inbox", "Work"])
        sync(account)
        work = Mailbox.objects.get(name="Work")
        store_flags(user_id=account.user_id, mailbox_id=work.pk, uids=NumberSet.parse("1"), store=adding("\\Seen"))
        Checkpoint.objects.update(full_wanted=True)
        sync(account)
        here = mirrored(account)
        assert {flags for name in ("INBOX", "Work", ALL) for _, flags in here[name]} == {frozenset({"\\Seen"})}
        assert Mutation.objects.count() == 1

    def test_highestmodseq_that_moves_before_the_change_is_visible(self, gmail: FakeGmail, account: Account) -> None:
        msgid = gmail.account.deliver(message_bytes())
        other = gmail.account.deliver(message_bytes("other"))
        sync(account)
        sync(account)
        with gmail.account.modseq_runs_ahead():
            gmail.account.flag(msgid, "\\Seen")
            gmail.account.label(msgid, "Work")
        sync(account)
        assert mirrored(account)["Work"] == []
        gmail.account.catch_up()
        gmail.account.flag(other, "\\Answered")
        sync(account)
        assert mirrored(account) == at_gmail(gmail)


class TestLeaving:
    def test_trashed_deleted_and_restored(self, gmail: FakeGmail, account: Account) -> None:
        trashed, deleted, junk = (gmail.account.deliver(message_bytes(f"{n}"), ["\\Inbox", "Work"]) for n in range(3))
        gmail.account.deliver(message_bytes("stays"))
        gmail.account.deliver(message_bytes("stays in trash"), place=Place.TRASH)
        sync(account)
        gmail.account.trash(trashed)
        gmail.account.delete_for_ever(deleted)
        gmail.account.spam(junk)
        gmail.forget()
        sync(account)
        assert mirrored(account) == at_gmail(gmail)
        assert [len(mirrored(account)[name]) for name in ("INBOX", "Work", "[Gmail]/Trash")] == [1, 0, 2]
        gmail.account.restore(trashed, "Work")
        sync(account)
        assert mirrored(account) == at_gmail(gmail)
        # Its bytes were here all the time.
        assert not gmail.bodies

    def test_what_the_upstream_speaks_of_in_inbox_is_looked_for_in_all_mail(
        self, gmail: FakeGmail, account: Account
    ) -> None:
        sync(account)
        gmail.account.deliver(message_bytes())
        assert want_inbox(account_id=account.pk)
        assert list(Checkpoint.objects.wanted(timezone.now()).values_list("mailbox__name", flat=True)) == [ALL]
        sync(account)
        assert not Checkpoint.objects.wanted(timezone.now()).exists()
        assert len(mirrored(account)["INBOX"]) == 1


class TestHiddenAllMail:
    """Row 7: the user hides All Mail from IMAP, and shows it again."""

    def _deliver(self, gmail: FakeGmail) -> tuple[int, int, int]:
        both = gmail.account.deliver(message_bytes("both"), ["\\Inbox", "Work"])
        archived = gmail.account.deliver(message_bytes("archived"), [])
        inbox = gmail.account.deliver(message_bytes("inbox"))
        return both, archived, inbox

    def test_from_the_beginning_mailboxes_are_mirrored_one_by_one(self, gmail: FakeGmail, account: Account) -> None:
        _, archived, _ = self._deliver(gmail)
        gmail.account.all_mail_hidden = True
        sync(account)
        here, there = mirrored(account), at_gmail(gmail)
        del there[ALL]
        assert here == there
        assert "Show in IMAP" in account.notice
        before = uids(account)

        gmail.account.all_mail_hidden = False
        gmail.forget()
        sync(account)
        assert mirrored(account) == at_gmail(gmail)
        assert before <= uids(account)
        assert account.notice == ""
        assert set(gmail.bodies) == {archived}
        assert not Remote.objects.filter(mailbox__name="INBOX").exists()

    def test_hidden_and_shown_again_nothing_is_lost_doubled_or_renumbered(
        self, gmail: FakeGmail, account: Account
    ) -> None:
        both, archived, inbox = self._deliver(gmail)
        sync(account)
        before = uids(account)

        gmail.account.all_mail_hidden = True
        gmail.forget()
        sync(account)
        assert uids(account) == before
        assert "Show in IMAP" in account.notice
        gmail.account.flag(inbox, "\\Seen")
        gmail.account.unlabel(both, "Work")
        new = gmail.account.deliver(message_bytes("new"), ["\\Inbox", "Work"])
        sync(account)
        here, there = mirrored(account), at_gmail(gmail)
        assert {name: here[name] for name in ("INBOX", "Work")} == {name: there[name] for name in ("INBOX", "Work")}
        # What is only in All Mail cannot be seen any more; it is not taken for deleted.
        assert len(here[ALL]) == 3
        kept = {row for row in uids(account) if row[0] != ALL}

        gmail.account.all_mail_hidden = False
        gmail.account.flag(archived, "\\Flagged")
        sync(account)
        assert mirrored(account) == at_gmail(gmail)
        assert kept <= uids(account)
        assert {row for row in before if row[0] == ALL} <= uids(account)
        assert set(gmail.bodies) == {new}
        assert gmail.bodies[new] <= 2
        assert account.notice == ""
        assert not Listing.objects.exists()
        assert not Remote.objects.filter(mailbox__name__in=["INBOX", "Work"]).exists()

    def test_mailboxes_limited_to_their_newest_messages_lose_nothing_here(
        self, gmail: FakeGmail, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sync.gmail._CAPS", frozenset({3}))
        for number in range(5):
            gmail.account.deliver(message_bytes(f"{number}"))
        sync(account)
        gmail.account.folder_cap = 3
        sync(account)
        assert len(mirrored(account)["INBOX"]) == len(mirrored(account)[ALL]) == 5
        assert "Do not limit" in account.notice
        newest = max(gmail.account.mails)
        gmail.account.delete_for_ever(newest)
        sync(account)
        assert len(mirrored(account)["INBOX"]) == 4


def test_a_connection_too_many_shrinks_the_budget(gmail: FakeGmail, account: Account) -> None:
    """Row 4: the user's own clients share the limit; it says nothing about the credentials."""
    gmail.account.deliver(message_bytes())
    gmail.connections_allowed = 1
    sync(account)
    assert mirrored(account) == at_gmail(gmail)


def test_a_large_mailbox_is_searched_in_ranges(
    gmail: FakeGmail, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 8: an unbounded search of it ends with the connection."""
    monkeypatch.setattr("sync.gmail.SEARCH_EVERYTHING_BELOW", 4)
    gmail.search_limit = 4
    for number in range(11):
        gmail.account.deliver(message_bytes(f"{number}"))
    sync(account)
    assert mirrored(account) == at_gmail(gmail)
    assert len(mirrored(account)[ENGLISH.parent + "/" + ENGLISH.all]) == 11
