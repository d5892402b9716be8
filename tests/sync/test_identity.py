"""Real Dovecot: what other clients move, rename and renumber there keeps its identity; nothing is fetched twice."""

from __future__ import annotations

import imaplib
from collections.abc import Iterator
from datetime import timedelta

import pytest

from mailcache.models import Account, Listing, Mailbox, Message
from sync.account_run import SliceEnd, run_account_until_done
from sync.models import Checkpoint
from tests.builders import let_time_pass, make_account, message_bytes
from tests.fakes.recording_proxy import RecordingProxy
from tests.mailcache.rows import bytes_of, check_consistency, uids_of
from tests.servers.dovecot import Dovecot
from tests.sync.mirror import mirrored, upstream

pytestmark = pytest.mark.dovecot


@pytest.fixture
def proxy(dovecot: Dovecot) -> Iterator[RecordingProxy]:
    with RecordingProxy(dovecot.host, dovecot.plain_port) as server:
        yield server


@pytest.fixture
def account(transactional_db: None, proxy: RecordingProxy, dovecot: Dovecot, upstream_user: str) -> Account:
    return make_account(port=proxy.port, username=upstream_user, secret=dovecot.password)


@pytest.fixture
def client(dovecot: Dovecot, upstream_user: str) -> Iterator[imaplib.IMAP4]:
    """Another client of the same user, logged in upstream."""
    with dovecot.login(upstream_user) as logged_in:
        yield logged_in


def sync(account: Account) -> None:
    assert run_account_until_done(account.pk) is SliceEnd.DONE


def fill(client: imaplib.IMAP4, mailbox: str, count: int) -> None:
    for number in range(count):
        client.append(mailbox, "", '"17-May-2024 10:30:00 +0200"', message_bytes(f"{mailbox} {number}"))


def fetched(proxy: RecordingProxy) -> int:
    return len(proxy.fetched_bodies())


def identities(account: Account) -> dict[int, tuple[int, int]]:
    """Return mailbox and UID of all messages, by their rows."""
    rows = Message.objects.filter(account=account).values_list("pk", "mailbox_id", "uid")
    return {pk: (mailbox, uid) for pk, mailbox, uid in rows}


def agree(account: Account, dovecot: Dovecot, user: str, *mailboxes: str) -> None:
    """Fail unless mirror and upstream hold the same, and the mirror's books are in order."""
    here, there = mirrored(account), upstream(dovecot, user, *mailboxes)
    for name in mailboxes:
        assert sorted(here[name]) == sorted(there[name], key=lambda message: message[0])
    for mailbox in Mailbox.objects.filter(account=account):
        check_consistency(mailbox)
    assert not Listing.objects.filter(account=account).exists()


class TestMoves:
    @pytest.mark.parametrize(("source", "target"), [("INBOX", "Work"), ("Work", "INBOX")])
    def test_a_move_is_a_move(
        self,
        account: Account,
        proxy: RecordingProxy,
        client: imaplib.IMAP4,
        dovecot: Dovecot,
        upstream_user: str,
        source: str,
        target: str,
    ) -> None:
        client.create("Work")
        for name in ("INBOX", "Work"):
            fill(client, name, 4)
        sync(account)
        before = fetched(proxy)
        client.select(source)
        assert client.uid("MOVE", "2:3", target)[0] == "OK"

        sync(account)

        assert fetched(proxy) == before == 8
        agree(account, dovecot, upstream_user, "INBOX", "Work")
        assert Mailbox.objects.get(account=account, name=source).messages == 2
        assert Mailbox.objects.get(account=account, name=target).messages == 6

    def test_a_move_and_back(
        self, account: Account, proxy: RecordingProxy, client: imaplib.IMAP4, dovecot: Dovecot, upstream_user: str
    ) -> None:
        client.create("Work")
        fill(client, "INBOX", 2)
        fill(client, "Work", 1)
        for source, target in (("INBOX", "Work"), ("Work", "INBOX")):
            sync(account)
            client.select(source)
            client.uid("MOVE", "2", target)
        sync(account)

        assert fetched(proxy) == 3
        agree(account, dovecot, upstream_user, "INBOX", "Work")


class TestRenumbering:
    def test_uids_stay_and_nothing_is_fetched(
        self, account: Account, proxy: RecordingProxy, client: imaplib.IMAP4, dovecot: Dovecot, upstream_user: str
    ) -> None:
        client.create("Work")
        fill(client, "Work", 5)
        client.select("Work")
        client.uid("STORE", "1", "+FLAGS", "(\\Deleted)")
        client.expunge()
        sync(account)
        before, uidvalidity = identities(account), Checkpoint.objects.get(mailbox__name="Work").uidvalidity
        # A copy of the mailbox in its place: other UIDs, another UIDVALIDITY.
        client.create("Copy")
        client.uid("COPY", "1:*", "Copy")
        client.close()
        client.delete("Work")
        client.rename("Copy", "Work")

        sync(account)

        assert Checkpoint.objects.get(mailbox__name="Work").uidvalidity != uidvalidity
        assert identities(account) == before
        assert fetched(proxy) == 4
        agree(account, dovecot, upstream_user, "Work")

    def test_a_restored_backup(
        self, account: Account, proxy: RecordingProxy, client: imaplib.IMAP4, dovecot: Dovecot, upstream_user: str
    ) -> None:
        """Some messages are missing, some that had been deleted are back: the first go, the others appear."""
        client.create("Work")
        client.create("Backup")
        fill(client, "Work", 4)
        client.select("Work")
        client.uid("COPY", "1:3", "Backup")
        sync(account)
        client.uid("STORE", "1", "+FLAGS", "(\\Deleted)")
        client.expunge()
        sync(account)
        work = Mailbox.objects.get(account=account, name="Work")
        uids, before = uids_of(work), fetched(proxy)
        client.close()
        client.delete("Work")
        client.rename("Backup", "Work")

        sync(account)

        assert fetched(proxy) == before
        assert set(uids_of(work)) & set(uids) == set(uids[:2])
        let_time_pass(account, timedelta(minutes=1))
        sync(account)
        agree(account, dovecot, upstream_user, "Work")


class TestRenames:
    def test_a_rename_with_children(
        self, account: Account, proxy: RecordingProxy, client: imaplib.IMAP4, dovecot: Dovecot, upstream_user: str
    ) -> None:
        for name in ("Work", "Work/Old", "Work/Empty"):
            client.create(name)
        fill(client, "Work", 3)
        fill(client, "Work/Old", 12)
        sync(account)
        before = identities(account)
        ids = dict(Mailbox.objects.filter(account=account).values_list("name", "pk"))
        client.rename("Work", "Jobs")

        sync(account)

        now = dict(Mailbox.objects.filter(account=account).values_list("name", "pk"))
        assert now == {name.replace("Work", "Jobs"): pk for name, pk in ids.items()}
        assert identities(account) == before
        assert fetched(proxy) == 15
        agree(account, dovecot, upstream_user, "Jobs", "Jobs/Old", "Jobs/Empty")

    def test_what_is_deleted_and_what_is_created_are_two(
        self, account: Account, proxy: RecordingProxy, client: imaplib.IMAP4
    ) -> None:
        client.create("Work")
        fill(client, "Work", 2)
        sync(account)
        client.delete("Work")
        client.create("Other")
        fill(client, "Other", 2)

        sync(account)

        names = set(Mailbox.objects.filter(account=account).values_list("name", flat=True))
        assert {"Work", "Other"} <= names
        assert fetched(proxy) == 4

    def test_two_that_swap_names(
        self, account: Account, proxy: RecordingProxy, client: imaplib.IMAP4, dovecot: Dovecot, upstream_user: str
    ) -> None:
        """Without MAILBOXID these are two renumbered mailboxes; all bytes are here."""
        for name in ("One", "Two"):
            client.create(name)
            fill(client, name, 3)
        sync(account)
        for old, new in (("One", "Aside"), ("Two", "One"), ("Aside", "Two")):
            client.rename(old, new)

        sync(account)

        assert fetched(proxy) == 6
        agree(account, dovecot, upstream_user, "One", "Two")

    def test_a_steady_list_costs_one_command(self, account: Account, proxy: RecordingProxy) -> None:
        sync(account)
        before = proxy.counts()
        sync(account)
        after = proxy.counts() - before
        assert (after["LIST"], after["NAMESPACE"]) == (1, 0)


def test_bytes_are_kept_when_a_mailbox_is_deleted_and_its_mail_was_moved_before(
    account: Account, proxy: RecordingProxy, client: imaplib.IMAP4
) -> None:
    client.create("Work")
    fill(client, "Work", 3)
    sync(account)
    client.select("Work")
    client.uid("MOVE", "1:*", "INBOX")
    client.close()
    client.delete("Work")

    sync(account)
    let_time_pass(account, timedelta(minutes=1))
    sync(account)

    assert fetched(proxy) == 3
    inbox = Mailbox.objects.get(account=account, name="INBOX")
    assert None not in bytes_of(inbox).values()
    assert not Mailbox.objects.filter(account=account, name="Work").exists()
