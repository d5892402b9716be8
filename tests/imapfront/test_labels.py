"""Clients that change mail in label mailboxes (Gmail): what is answered, what others see, and what is queued."""

from __future__ import annotations

from typing import Any

import pytest

from mailcache.flags import FlagSet
from mailcache.models import Mailbox, MailboxRole, Message, Mutation
from mailcache.services.ingest_list import ingest_mailbox_list
from mailcache.services.ingest_skeleton import SkeletonRow
from mailcache.services.labels import set_labels
from tests.builders import (
    INTERNAL_DATE,
    PASSWORD,
    add_bodies,
    add_skeleton,
    make_account,
    make_fence,
    make_mailboxes,
    message_bytes,
    upstream_mailbox,
)
from tests.imapfront.frontend import Frontend

# The types of what imaplib answers are unions of everything; what is asserted here is their content.
Client = Any


@pytest.fixture
def client(transactional_db: None, frontend: Frontend) -> Client:
    """A client of an account with two messages in All Mail: the first in INBOX and Work, the second in Work."""
    account = make_account()
    fence = make_fence(account)
    roles = {"INBOX": MailboxRole.INBOX, "Work": MailboxRole.NONE, "All": MailboxRole.ALL, "Trash": MailboxRole.TRASH}
    ingest_mailbox_list(fence=fence, listed=[upstream_mailbox(name, role) for name, role in roles.items()])
    set_labels(fence=fence, labels={b"INBOX": "\\Inbox", b"Work": "Work"})
    source = Mailbox.objects.get(account=account, name="All")
    bodies = {uid: message_bytes(f"{uid}") for uid in (1, 2)}
    labels = {1: ("\\Inbox", "Work"), 2: ("Work",)}
    rows = [
        SkeletonRow(uid, FlagSet(), INTERNAL_DATE, len(data), f"{uid}", labels=labels[uid])
        for uid, data in bodies.items()
    ]
    add_skeleton(fence, source, rows)
    add_bodies(fence, source, bodies)
    connection = frontend.connect()
    connection.login(account.user.email, PASSWORD)
    return connection


def counts(client: Client) -> dict[str, int]:
    """Return how many messages each mailbox has, as any client is told."""
    found = {}
    for name in ("INBOX", "Work", "All", "Trash"):
        _, (told,) = client.status(name, "(MESSAGES)")
        found[name] = int(told.split()[-1].rstrip(b")"))
    return found


def queue() -> list[tuple[str, str | None]]:
    """Return the kinds queued, with their targets."""
    return list(Mutation.objects.order_by("pk").values_list("kind", "target__name"))


def copied(client: Client) -> list[bytes]:
    return [b" ".join(told.split()[1:]) for told in client.response("COPYUID")[1] if told]


def test_copy_tells_the_uid_of_what_is_there_already(client: Client) -> None:
    client.select("Work")
    assert client.uid("COPY", "2", "INBOX")[0] == "OK"
    client.select("All")
    client.response("COPYUID")
    # The second was copied before the first: each has the UID that it got.
    assert client.uid("COPY", "1:2", "INBOX")[0] == "OK"
    assert copied(client) == [b"1:2 1:2"]
    assert counts(client) == {"INBOX": 2, "Work": 2, "All": 2, "Trash": 0}
    assert queue() == [("label", "INBOX")]


def test_copyuid_keeps_the_order(client: Client) -> None:
    client.select("INBOX")
    assert client.uid("MOVE", "1", "All")[0] == "OK"
    client.select("Work")
    client.uid("COPY", "2", "INBOX")
    client.uid("COPY", "1", "INBOX")
    client.response("COPYUID")
    assert client.uid("COPY", "1:2", "INBOX")[0] == "OK"
    assert copied(client) == [b"1:2 3,2"]


def test_move_tells_that_the_message_has_left(client: Client) -> None:
    client.select("INBOX")
    client.untagged_responses.clear()
    assert client.uid("MOVE", "1", "Work")[0] == "OK"
    assert client.response("EXPUNGE")[1] == [b"1"]
    assert counts(client) == {"INBOX": 0, "Work": 2, "All": 2, "Trash": 0}
    assert queue() == [("unlabel", "INBOX")]


def test_expunge_and_close_take_the_label_off(client: Client) -> None:
    client.select("INBOX")
    client.store("1", "+FLAGS", "\\Deleted")
    assert client.expunge()[1] == [b"1"]
    client.select("Work")
    assert client.search(None, "DELETED")[1] == [b""]
    client.store("2", "+FLAGS", "\\Deleted")
    assert client.close()[0] == "OK"
    assert counts(client) == {"INBOX": 0, "Work": 1, "All": 2, "Trash": 0}
    assert queue() == [("unlabel", "INBOX"), ("unlabel", "Work")]


def test_to_trash_it_goes_from_everywhere(client: Client) -> None:
    client.select("Work")
    client.untagged_responses.clear()
    assert client.copy("1", "Trash")[0] == "OK"
    client.noop()
    assert client.response("EXPUNGE")[1] == [b"1"]
    assert counts(client) == {"INBOX": 0, "Work": 1, "All": 1, "Trash": 1}
    assert queue() == [("move", "Trash")]


def test_without_a_trash_nothing_is_deleted_in_all_mail_and_close_is_no_failure(client: Client) -> None:
    Mailbox.objects.filter(name="Trash").update(selectable=False)
    client.select("All")
    client.store("1", "+FLAGS", "\\Deleted")
    status, (told,) = client.expunge()
    assert (status, told.startswith(b"[CANNOT]")) == ("NO", True)
    assert client.close()[0] == "OK"
    assert client.select("All")[1] == [b"2"]
    assert queue() == []


def test_append_shows_the_message_in_both(client: Client) -> None:
    status, (told,) = client.append("INBOX", "(\\Seen)", '"17-May-2024 10:30:00 +0200"', message_bytes())
    assert status == "OK"
    assert told.startswith(b"[APPENDUID ")
    assert counts(client) == {"INBOX": 2, "Work": 2, "All": 3, "Trash": 0}
    assert queue() == [("append", "All"), ("label", "INBOX")]
    client.select("INBOX")
    client.store("2", "+FLAGS", "\\Flagged")
    client.select("All")
    assert client.search(None, "FLAGGED")[1] == [b"3"]


def test_a_label_of_ones_own(client: Client) -> None:
    assert client.create("New")[0] == "OK"
    client.select("INBOX")
    assert client.copy("1", "New")[0] == "OK"
    assert client.rename("New", "Newer")[0] == "OK"
    assert client.delete("Newer")[0] == "OK"
    for name in ("All", "Trash"):
        assert client.delete(name)[0] == "NO"
        assert client.rename(name, "Other")[0] == "NO"
    assert counts(client) == {"INBOX": 1, "Work": 2, "All": 2, "Trash": 0}


def test_what_cannot_be_taken_away_is_not_moved_to_another_account(client: Client) -> None:
    source = Mailbox.objects.get(name="All")
    theirs = make_mailboxes(make_fence(second := make_account(source.account.user)))[0]
    Mailbox.objects.filter(name="Trash").update(selectable=False)
    client.select("All")
    for _ in range(2):
        assert client.uid("MOVE", "1", f'"Accounts/{second.address}/INBOX"')[0] == "NO"
    assert not Message.objects.filter(mailbox=theirs).exists()
