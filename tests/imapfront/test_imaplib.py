"""Python's imaplib against a real frontend: the commands of RFC 3501 that read."""

from __future__ import annotations

import imaplib
import ssl
from typing import Any

import pytest

from tests.builders import PASSWORD, add_skeleton, make_account, make_fence, make_mailboxes, message_bytes, skeleton_row
from tests.imapfront.fixtures import MirroredAccount
from tests.imapfront.frontend import Frontend

# The types of what imaplib answers are unions of everything; what is asserted here is their content.
Client = Any


@pytest.fixture
def client(frontend: Frontend, mirrored: MirroredAccount) -> Client:
    connection = frontend.connect()
    connection.login(mirrored.user.email, PASSWORD)
    return connection


def test_starttls_and_tls(frontend: Frontend, mirrored: MirroredAccount) -> None:
    context = ssl.create_default_context(cafile=frontend.certificate)
    plain = frontend.connect()
    assert "STARTTLS" in plain.capabilities
    plain.starttls(context)
    assert "STARTTLS" not in plain.capabilities
    assert plain.login(mirrored.user.email, PASSWORD)[0] == "OK"
    encrypted = frontend.connect_tls()
    assert encrypted.authenticate("PLAIN", lambda _: f"\0{mirrored.user.email}\0{PASSWORD}".encode())[0] == "OK"
    assert encrypted.logout()[0] == "BYE"


def test_a_wrong_password_is_refused(frontend: Frontend, mirrored: MirroredAccount) -> None:
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        frontend.connect().login(mirrored.user.email, "wrong")


def test_select_tells_the_mailbox(client: Client, mirrored: MirroredAccount) -> None:
    mirrored.add({5: message_bytes(), 9: message_bytes()}, "\\Seen", "$Work")
    mirrored.add({11: message_bytes()})

    assert client.select("INBOX") == ("OK", [b"3"])

    assert client.response("UIDNEXT")[1] == [b"12"]
    assert client.response("UNSEEN")[1] == [b"3"]
    assert b"$Work" in client.response("FLAGS")[1][0]
    assert client.response("RECENT")[1] == [b"3"]
    client.select("INBOX")
    assert client.response("RECENT")[1] == [b"0"]


def test_every_fetch_item(client: Client, mirrored: MirroredAccount) -> None:
    data = message_bytes("Every item", "body\r\n")
    mirrored.add({7: data}, "\\Flagged")
    client.select("INBOX", readonly=True)

    answer = client.fetch("1", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE)")[1][0]

    assert answer.startswith(
        b'1 (UID 7 FLAGS (\\Flagged \\Recent) INTERNALDATE "17-May-2024 08:30:00 +0000" RFC822.SIZE '
    )
    assert b'ENVELOPE (NIL "Every item" ' in answer
    assert b'BODY ("text" "plain" ' in answer
    assert b"BODYSTRUCTURE (" in answer
    header, _, body = data.partition(b"\r\n\r\n")
    for item, expected in {
        "RFC822": data,
        "BODY[]": data,
        "BODY.PEEK[HEADER]": header + b"\r\n\r\n",
        "RFC822.HEADER": header + b"\r\n\r\n",
        "RFC822.TEXT": body,
        "BODY[1]": body,
        "BODY[TEXT]<2.2>": body[2:4],
        "BODY[]<100000.5>": b"",
        "BODY[HEADER.FIELDS (SUBJECT)]": b"Subject: Every item\r\n\r\n",
        "BODY[HEADER.FIELDS.NOT (FROM TO MESSAGE-ID)]": b"Subject: Every item\r\n\r\n",
    }.items():
        assert client.fetch("1", f"({item})")[1][0][1] == expected, item
    assert client.fetch("1", "BODY[2]")[1] == [b"1 (BODY[2] NIL)"]


def test_reading_sets_seen_unless_peeked_or_examined(client: Client, mirrored: MirroredAccount) -> None:
    mirrored.add({1: message_bytes(), 2: message_bytes(), 3: message_bytes()})
    client.select("INBOX", readonly=True)
    client.fetch("1:3", "(BODY[])")
    client.select("INBOX")
    client.fetch("2", "(BODY.PEEK[])")
    read = client.fetch("3", "(RFC822.TEXT)")[1]

    assert b"FLAGS (\\Seen \\Recent)" in read[0][0]
    assert client.search(None, "SEEN") == ("OK", [b"3"])
    assert client.search(None, "UNSEEN") == ("OK", [b"1 2"])


def test_bytes_that_are_not_here_are_unavailable(client: Client, mirrored: MirroredAccount) -> None:
    mirrored.add({1: message_bytes()})
    add_skeleton(mirrored.fence, mirrored.inbox, [skeleton_row(2, size=50)])
    client.select("INBOX")

    status, answer = client.fetch("1:2", "(RFC822)")

    assert status == "NO"
    assert b"[UNAVAILABLE]" in answer[-1]
    assert client.fetch("2", "(UID FLAGS RFC822.SIZE)")[1][-1] == b"2 (UID 2 FLAGS (\\Recent) RFC822.SIZE 50)"


def test_search_by_flags_numbers_and_uids(client: Client, mirrored: MirroredAccount) -> None:
    mirrored.add({10: message_bytes(), 20: message_bytes()}, "\\Seen", "$Work")
    mirrored.add({30: message_bytes()}, "\\Flagged")
    client.select("INBOX")

    assert client.search(None, "ALL") == ("OK", [b"1 2 3"])
    assert client.uid("SEARCH", "1:* NOT SEEN") == ("OK", [b"30"])
    assert client.search(None, "OR FLAGGED KEYWORD $work") == ("OK", [b"1 2 3"])
    assert client.search(None, "UID 20:*") == ("OK", [b"2 3"])
    with pytest.raises(imaplib.IMAP4.error, match="not supported"):
        client.search(None, "SUBJECT x")


def test_lists_and_status(client: Client, mirrored: MirroredAccount) -> None:
    make_mailboxes(mirrored.fence, "INBOX", "Work/Deep", "Entwürfe")
    other = make_account(mirrored.user)
    make_mailboxes(make_fence(other), "INBOX", "Sent")
    mirrored.add({1: message_bytes()})

    listed = [line.decode() for line in client.list()[1] if line]

    assert listed[0] == '(\\HasNoChildren) "/" INBOX'
    assert '(\\HasNoChildren) "/" Entw&APw-rfe' in listed
    assert '(\\NonExistent \\Noselect \\HasChildren) "/" Work' in listed
    assert f'(\\HasNoChildren) "/" Accounts/{other.address}/Sent' in listed
    assert client.list('""', "%")[1][-1] == b'(\\NonExistent \\Noselect \\HasChildren) "/" Work'
    assert client.status("INBOX", "(MESSAGES UNSEEN UIDNEXT RECENT)")[1] == [
        b"INBOX (MESSAGES 1 UNSEEN 1 UIDNEXT 2 RECENT 1)"
    ]
    assert client.select(f'"Accounts/{other.address}/Sent"')[0] == "OK"
    assert f"Accounts/{other.address}/".encode() in client.namespace()[1][0]


def test_more_is_fetched_than_is_read_at_once(client: Client, mirrored: MirroredAccount) -> None:
    """5 MB of messages that are each read whole."""
    data = {uid: message_bytes(body=f"{uid} " * 80_000) for uid in range(1, 26)}
    mirrored.add(data)
    client.select("INBOX")
    answer = client.fetch("1:*", "(BODY.PEEK[])")[1]
    assert [part[1] for part in answer if isinstance(part, tuple)] == list(data.values())


def test_another_users_mailbox_does_not_exist(client: Client) -> None:
    strange = make_account()
    make_mailboxes(make_fence(strange), "INBOX", "Secret")

    assert client.select("Secret")[0] == "NO"
    assert client.select(f'"Accounts/{strange.address}/Secret"')[0] == "NO"
