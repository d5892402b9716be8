"""LIST with STATUS in one command (RFC 5819), STATUS alone, and the items of Gmail and OBJECTID."""

from __future__ import annotations

import pytest

from sync.upstream.errors import CommandNo, Severity
from sync.upstream.values import MailboxStatus
from tests.fakes.scripted_imap import Answer
from tests.servers.dovecot import Dovecot
from tests.sync.upstream.answers import offering, rows
from tests.sync.upstream.conftest import Script
from tests.sync.upstream.drivers import Client, fetched


def test_dovecot_tells_of_all_mailboxes_at_once(client: Client, dovecot: Dovecot, upstream_user: str) -> None:
    dovecot.deliver(upstream_user, b"Subject: x\r\n\r\n", mailbox="Sent")
    with dovecot.login(upstream_user) as plain:
        plain.create("Parent/Child")
        plain.subscribe("Sent")
    commands = client.statistics.commands
    listed = {box.name: box for box in client.list_mailboxes(status=True)}

    assert client.statistics.commands == commands + 1
    status = listed["Sent"].status
    assert status is not None
    assert (status.messages, status.uidnext) == (1, 2)
    opened = client.examine(b"Sent")
    assert (status.uidvalidity, status.highestmodseq) == (opened.uidvalidity, opened.highestmodseq)
    assert listed["Parent"].status is None or "\\Noselect" not in listed["Parent"].attributes
    assert {"\\Sent", "\\Subscribed", "\\HasNoChildren"} <= listed["Sent"].attributes
    assert "\\HasChildren" in listed["Parent"].attributes
    assert client.refused == frozenset()
    assert all(box.status is None for box in client.list_mailboxes())


def test_dovecot_tells_of_one_mailbox(client: Client, dovecot: Dovecot, upstream_user: str) -> None:
    dovecot.deliver(upstream_user, b"Subject: x\r\n\r\n", mailbox="Sent")
    status = client.status(b"Sent")
    opened = client.examine(b"Sent")

    assert status == MailboxStatus(1, 2, opened.uidvalidity, opened.highestmodseq)
    with pytest.raises(CommandNo) as caught:
        client.status(b"missing")
    assert caught.value.severity is Severity.MAILBOX


def test_every_wanted_option_is_asked_for(script: Script) -> None:
    # Quirk 36: what is not asked for is left out.
    listed = (
        b'* LIST (\\Sent) "/" {4}\r\nSent\r\n* STATUS "Sent" (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 5 HIGHESTMODSEQ 6 '
        b'MAILBOXID (F221) X-NEW (1 2) SIZE 7)\r\n* LIST (\\Noselect) "/" shared\r\n* NO shared is away\r\n'
        b'* LIST () "/" a\r\n* STATUS a ()\r\n* STATUS unheard (MESSAGES 9)\r\n* STATUS "broken\r\n{tag} OK done\r\n'
    )
    offered = offering(b"LIST-EXTENDED", b"LIST-STATUS", b"SPECIAL-USE", b"CONDSTORE", b"OBJECTID")
    server, client = script(offered | {"LIST": listed})

    assert [(box.name, box.status) for box in client.list_mailboxes(status=True)] == [
        ("Sent", MailboxStatus(3, 4, 5, 6, "F221")),
        ("shared", None),
        ("a", MailboxStatus()),
    ]
    assert server.commands[-1] == (
        b'LIST "" * RETURN (SPECIAL-USE SUBSCRIBED CHILDREN '
        b"STATUS (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ MAILBOXID))"
    )
    assert client.statistics.malformed == 1


@pytest.mark.parametrize(
    ("rejections", "last", "refused"),
    [
        (1, b"RETURN (SUBSCRIBED CHILDREN STATUS (MESSAGES UIDNEXT UIDVALIDITY))", "OBJECTID"),
        (2, b"RETURN (SUBSCRIBED CHILDREN)", "LIST-STATUS"),
        (3, b"*", "LIST-EXTENDED"),
    ],
)
@pytest.mark.parametrize("rejection", [b"{tag} BAD no\r\n", b"{tag} NO what is that\r\n"])
def test_options_that_are_rejected(
    script: Script, rejection: bytes, rejections: int, last: bytes, refused: str
) -> None:
    half = b'* LIST (\\Noselect) "/" half\r\n' + rejection
    whole: Answer = b'* LIST () "/" whole\r\n{tag} OK done\r\n'
    answers: dict[str, Answer | list[Answer]] = {"LIST": [*[half] * rejections, whole]}
    server, client = script(offering(b"LIST-EXTENDED", b"LIST-STATUS", b"OBJECTID") | answers)

    assert [box.name for box in client.list_mailboxes(status=True)] == ["whole"]
    assert client.refused == {refused}
    before = len(server.commands)
    client.list_mailboxes(status=True)
    assert len(server.commands) == before + 1
    assert server.commands[-1].endswith(last)


def test_without_list_status_nothing_is_told(script: Script) -> None:
    server, client = script({"LIST": b'* LIST () "/" INBOX\r\n{tag} OK done\r\n'})

    assert [box.status for box in client.list_mailboxes(status=True)] == [None]
    assert server.commands[-1] == b'LIST "" *'


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        # Quirk 28: Coremail.
        (b"* STATUS INBOX ()\r\n", MailboxStatus()),
        (b"* STATUS INBOX\r\n", MailboxStatus()),
        (b"", MailboxStatus()),
        (b"* STATUS {5}\r\nINBOX (messages 3 uidnext  4)\r\n", MailboxStatus(3, 4)),
        (b"* STATUS inbox (MESSAGES 3 UIDVALIDITY 0 UIDNEXT -1)\r\n", MailboxStatus(3, None, 0)),
        (b"* STATUS INBOX (MESSAGES 99999999999999999999)\r\n* STATUS Other (MESSAGES 9)\r\n", MailboxStatus()),
        (b"* STATUS INBOX (MAILBOXID NIL HIGHESTMODSEQ 8)\r\n", MailboxStatus(highestmodseq=8)),
    ],
)
def test_whatever_status_tells(script: Script, answer: bytes, wanted: MailboxStatus) -> None:
    _, client = script({"STATUS": answer + b"{tag} OK done\r\n"})

    assert client.status(b"INBOX") == wanted
    assert not client.poisoned


def test_mailbox_ids_of_selected_mailboxes(script: Script) -> None:
    _, client = script({"EXAMINE": b"* 1 EXISTS\r\n* OK [MAILBOXID (F2212ea8)] Ok\r\n{tag} OK done\r\n"})

    assert client.examine(b"INBOX").mailbox_id == "F2212ea8"


@pytest.mark.parametrize(
    ("row", "labels", "email_id"),
    [
        (b'X-GM-LABELS ("\\\\Inbox" \\Sent Important "Muy Importante") X-GM-MSGID 1278455344230334865',
         ("\\Inbox", "\\Sent", "Important", "Muy Importante"), "1278455344230334865"),
        (b'X-GM-LABELS ("Entw&APw-rfe" {3}\r\na)b)', ("Entwürfe", "a)b"), None),
        (b"X-GM-LABELS ()", (), None),
        (b"X-GM-LABELS NIL EMAILID NIL", None, None),
        (b"EMAILID (M6d99ac3275bb4e) THREADID (T1)", None, "M6d99ac3275bb4e"),
    ],
)  # fmt: skip
def test_labels_and_email_ids(script: Script, row: bytes, labels: tuple[str, ...] | None, email_id: str | None) -> None:
    _, client = script(rows(b"* 1 FETCH (UID 5 " + row + b" FLAGS ())"))

    (message,) = fetched(client, [5], b"(X-GM-LABELS X-GM-MSGID)")
    assert (message.labels, message.email_id, message.flags) == (labels, email_id, ())
