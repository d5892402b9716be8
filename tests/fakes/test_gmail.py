"""The fake Gmail behaves as the field notes (section 2, rows 1-9) say; read by imaplib."""

from __future__ import annotations

import imaplib
import re
from collections.abc import Callable, Iterator

import pytest

from tests.builders import message_bytes
from tests.fakes.gmail import GERMAN, PASSWORD, USER, FakeGmail, Place

ALL = '"[Gmail]/All Mail"'
TRASH = '"[Gmail]/Trash"'

LogIn = Callable[[FakeGmail], imaplib.IMAP4]


@pytest.fixture
def gmail() -> Iterator[FakeGmail]:
    with FakeGmail() as server:
        yield server


@pytest.fixture
def clients() -> Iterator[list[imaplib.IMAP4]]:
    opened: list[imaplib.IMAP4] = []
    yield opened
    for client in opened:
        client.shutdown()


@pytest.fixture
def log_in(clients: list[imaplib.IMAP4]) -> LogIn:
    def connect(gmail: FakeGmail) -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", gmail.port, timeout=10)
        clients.append(client)
        client.login(USER, PASSWORD)
        return client

    return connect


def uids(client: imaplib.IMAP4, mailbox: str, *, readonly: bool = True) -> list[int]:
    assert client.select(mailbox, readonly=readonly)[0] == "OK"
    return [int(uid) for uid in client.uid("SEARCH", "ALL")[1][0].split()]


def fetched(client: imaplib.IMAP4, uid: int, items: str) -> str:
    return " ".join(str(part) for part in client.uid("FETCH", str(uid), items)[1])


class TestLabelsAreMailboxes:
    def test_one_message_many_mailboxes_one_set_of_flags(self, gmail: FakeGmail, log_in: LogIn) -> None:
        msgid = gmail.account.deliver(message_bytes(), ["\\Inbox", "Work/Ünder"])
        client = log_in(gmail)
        assert [len(uids(client, name)) for name in ("INBOX", '"Work/&ANw-nder"', ALL)] == [1, 1, 1]
        client.select("INBOX")
        client.uid("STORE", "1", "+FLAGS", "(\\Seen)")
        client.select(ALL)
        answer = fetched(client, 1, "(FLAGS X-GM-MSGID X-GM-LABELS)")
        assert "\\\\Seen" in answer
        assert f"X-GM-MSGID {msgid}" in answer
        assert 'X-GM-LABELS (Work/&ANw-nder "\\\\\\\\Inbox")' in answer

    def test_expunge_takes_the_label_off(self, gmail: FakeGmail, log_in: LogIn) -> None:
        gmail.account.deliver(message_bytes(), ["\\Inbox", "Work"])
        client = log_in(gmail)
        uids(client, "INBOX", readonly=False)
        client.uid("STORE", "1", "+FLAGS", "(\\Deleted)")
        client.expunge()
        assert [uids(client, name) for name in ("INBOX", "Work", ALL)] == [[], [1], [1]]

    def test_trash_takes_all_labels_and_expunge_there_deletes(self, gmail: FakeGmail, log_in: LogIn) -> None:
        gmail.account.deliver(message_bytes(), ["\\Inbox", "Work"])
        client = log_in(gmail)
        uids(client, "Work", readonly=False)
        assert client.uid("MOVE", "1", TRASH)[0] == "OK"
        assert [uids(client, name) for name in ("INBOX", "Work", ALL)] == [[], [], []]
        assert uids(client, TRASH, readonly=False) == [1]
        client.uid("STORE", "1", "+FLAGS", "(\\Deleted)")
        client.uid("EXPUNGE", "1")
        assert not gmail.account.mails

    def test_archive_by_move_and_label_by_copy(self, gmail: FakeGmail, log_in: LogIn) -> None:
        msgid = gmail.account.deliver(message_bytes())
        gmail.account.create_label("Work")
        client = log_in(gmail)
        uids(client, "INBOX", readonly=False)
        client.uid("COPY", "1", "Work")
        assert client.response("COPYUID")[1] == [b"100 1 1"]
        client.uid("MOVE", "1", ALL)
        assert gmail.account.mails[msgid].labels == {"Work"}
        client.select(ALL)
        client.uid("STORE", "1", "-X-GM-LABELS", "(Work)")
        client.uid("STORE", "1", "+X-GM-LABELS", "(\\Starred)")
        assert gmail.account.mails[msgid].labels == {"\\Starred"}
        assert gmail.account.mails[msgid].flags == {"\\Flagged"}

    def test_append_of_the_same_bytes_gives_the_same_message(self, gmail: FakeGmail, log_in: LogIn) -> None:
        data = message_bytes()
        client = log_in(gmail)
        client.append("INBOX", "(\\Seen)", '"17-May-2024 10:30:00 +0200"', data)
        answer = client.append('"[Gmail]/Sent Mail"', "", None, data)
        assert b"APPENDUID 6 1" in answer[1][0]
        assert len(gmail.account.mails) == 1


class TestSwitches:
    def test_special_use_in_another_language_and_hidden_all_mail(self, log_in: LogIn) -> None:
        with FakeGmail(GERMAN) as gmail:
            client = log_in(gmail)
            listed = [str(line) for line in client.list()[1]]
            assert any(re.search(r'All .*"\[Google Mail\]/Alle Nachrichten"', line) for line in listed)
            assert any("Entw&APw-rfe" in line for line in listed)
            gmail.account.all_mail_hidden = True
            assert not any("All" in str(line) for line in client.list()[1])
            assert client.select('"[Google Mail]/Alle Nachrichten"')[0] == "NO"

    def test_a_folder_may_be_limited_to_its_newest_messages(self, gmail: FakeGmail, log_in: LogIn) -> None:
        for _ in range(5):
            gmail.account.deliver(message_bytes())
        gmail.account.folder_cap = 3
        assert uids(log_in(gmail), "INBOX") == [3, 4, 5]

    def test_one_connection_too_many(self, gmail: FakeGmail, log_in: LogIn) -> None:
        gmail.connections_allowed = 1
        log_in(gmail)
        with pytest.raises(imaplib.IMAP4.error, match="Too many simultaneous connections"):
            log_in(gmail)

    def test_highestmodseq_may_run_ahead_of_what_fetch_tells(self, gmail: FakeGmail, log_in: LogIn) -> None:
        msgid = gmail.account.deliver(message_bytes())
        client = log_in(gmail)
        with gmail.account.modseq_runs_ahead():
            gmail.account.flag(msgid, "\\Seen")
        client.select(ALL, readonly=True)
        ahead = gmail.account.folders["[Gmail]/All Mail"].highestmodseq
        assert "\\\\Seen" not in fetched(client, 1, "(FLAGS)")
        gmail.account.catch_up()
        assert client.uid("FETCH", "1:*", f"(FLAGS) (CHANGEDSINCE {ahead})")[1] == [None]
        assert "\\\\Seen" in str(client.uid("FETCH", "1:*", f"(FLAGS) (CHANGEDSINCE {ahead - 1})"))

    def test_idle_tells_of_mail_and_not_of_labels(self, gmail: FakeGmail, log_in: LogIn) -> None:
        msgid = gmail.account.deliver(message_bytes())
        client = log_in(gmail)
        client.select("INBOX", readonly=True)
        client.send(b"x1 IDLE\r\n")
        assert client.readline() == b"+ idling\r\n"
        gmail.account.label(msgid, "Work")
        gmail.account.flag(msgid, "\\Seen")
        gmail.account.deliver(message_bytes())
        assert client.readline() == b"* 2 EXISTS\r\n"
        gmail.account.archive(msgid)
        assert client.readline() == b"* 1 EXPUNGE\r\n"
        client.send(b"DONE\r\n")
        assert client.readline().startswith(b"x1 OK")

    def test_a_search_without_bounds_ends_with_the_connection(self, gmail: FakeGmail, log_in: LogIn) -> None:
        for _ in range(5):
            gmail.account.deliver(message_bytes())
        gmail.search_limit = 4
        client = log_in(gmail)
        client.select(ALL, readonly=True)
        assert client.uid("SEARCH", "UID 1:3")[1] == [b"1 2 3"]
        with pytest.raises((imaplib.IMAP4.abort, OSError)):
            client.uid("SEARCH", "ALL")


def test_commands_and_bodies_are_recorded(gmail: FakeGmail, log_in: LogIn) -> None:
    msgid = gmail.account.deliver(message_bytes(), place=Place.SPAM)
    client = log_in(gmail)
    client.select('"[Gmail]/Spam"', readonly=True)
    assert f"X-GM-MSGID {msgid}" in fetched(client, 1, "(X-GM-MSGID BODY.PEEK[])")
    assert gmail.asked(b"UID FETCH") == [b"UID FETCH 1 (X-GM-MSGID BODY.PEEK[])"]
    assert gmail.bodies == {msgid: 1}
