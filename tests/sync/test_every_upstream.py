"""What a sync promises, on every kind of upstream: two real servers, each with and without CONDSTORE and QRESYNC."""

from __future__ import annotations

import imaplib

import pytest

from mailcache.models import Mailbox, Message
from sync.models import Checkpoint
from tests.builders import message_bytes
from tests.sync.mirror import differences, mirrored, whole_upstream
from tests.sync.upstreams import Upstream

pytestmark = pytest.mark.dovecot

LARGE = b"Subject: large\r\nMessage-ID: <large@example.test>\r\n\r\n" + b"0123456789abcdef\r\n" * 100_000
FLAGS = ["", "\\Seen", "\\Flagged Work", "\\Answered \\Draft"]


def fill(client: imaplib.IMAP4, mailbox: str, count: int) -> None:
    for number in range(count):
        message = message_bytes(f"{mailbox} {number}")
        status, answer = client.append(mailbox, f"({FLAGS[number % 4]})", '"17-May-2024 10:30:00 +0200"', message)
        assert status == "OK", answer


def assert_in_step(upstream: Upstream) -> None:
    with upstream.login() as client:
        there = whole_upstream(client)
    assert differences(mirrored(upstream.account), there) == []


def bodies_fetched(upstream: Upstream) -> int:
    return len(upstream.proxy.fetched_bodies())


def uids_here(upstream: Upstream, mailbox: str) -> list[int]:
    messages = Message.objects.filter(account=upstream.account, mailbox__name=mailbox)
    return list(messages.order_by("uid").values_list("uid", flat=True))


def mailboxes(upstream: Upstream) -> int:
    return Mailbox.objects.filter(account=upstream.account).count()


@pytest.fixture
def filled(any_upstream: Upstream) -> Upstream:
    """An upstream with some mail, mirrored once."""
    with any_upstream.login() as client:
        fill(client, "INBOX", 8)
        client.create("Work")
        fill(client, "Work", 5)
        client.create("Archive")
    any_upstream.sync()
    assert_in_step(any_upstream)
    return any_upstream


def test_first_sync_and_an_unchanged_account(any_upstream: Upstream) -> None:
    with any_upstream.login() as client:
        fill(client, "INBOX", 12)
        client.create('"Projects/Gr&APwA3w-e"')
        fill(client, '"Projects/Gr&APwA3w-e"', 3)
        client.create("Sent")
        client.append("Sent", "(\\Seen)", None, LARGE)
    any_upstream.sync()
    assert_in_step(any_upstream)
    assert bodies_fetched(any_upstream) == 16

    commands = any_upstream.sync()

    assert_in_step(any_upstream)
    assert bodies_fetched(any_upstream) == 16
    assert len(commands) <= mailboxes(any_upstream), commands


def test_new_mail_costs_four_commands_and_its_own_bytes(filled: Upstream) -> None:
    before, uids = bodies_fetched(filled), uids_here(filled, "INBOX")
    with filled.login() as client:
        fill(client, "INBOX", 4)
    commands = filled.sync()
    assert_in_step(filled)
    assert bodies_fetched(filled) == before + 4
    assert uids_here(filled, "INBOX")[: len(uids)] == uids
    assert len(commands) <= 4 + mailboxes(filled) - 1, commands


def test_flags_and_expunges(filled: Upstream) -> None:
    before, uids = bodies_fetched(filled), uids_here(filled, "INBOX")
    with filled.login() as client:
        client.select("INBOX")
        client.uid("STORE", "1:2", "+FLAGS", "(\\Answered Later)")
        client.uid("STORE", "3", "-FLAGS", "(\\Flagged Work)")
    filled.settle(most=1)
    assert_in_step(filled)

    with filled.login() as client:
        client.select("INBOX")
        client.uid("STORE", "2,5", "+FLAGS", "(\\Deleted)")
        client.expunge()
        client.uid("STORE", "3", "+FLAGS", "(\\Answered)")
        fill(client, "INBOX", 1)
    filled.settle(most=1)
    assert_in_step(filled)
    assert uids_here(filled, "INBOX")[:-1] == [uid for uid in uids if uid not in {uids[1], uids[4]}]
    assert bodies_fetched(filled) == before + 1


def test_messages_and_mailboxes_that_move_keep_their_bytes_and_uids(filled: Upstream) -> None:
    before, uids = bodies_fetched(filled), uids_here(filled, "Work")
    mailbox = Mailbox.objects.get(account=filled.account, name="Work")
    with filled.login() as client:
        client.select("INBOX")
        client.uid("MOVE", "2:3", "Archive")
        client.unselect()
        client.rename("Work", "Labour")
    filled.settle(most=2)
    assert_in_step(filled)
    assert Mailbox.objects.get(account=filled.account, name="Labour").pk == mailbox.pk
    assert uids_here(filled, "Labour") == uids
    assert bodies_fetched(filled) == before


def test_a_renumbered_mailbox_keeps_its_messages(filled: Upstream) -> None:
    before, uids = bodies_fetched(filled), uids_here(filled, "Work")
    checkpoint = Checkpoint.objects.get(mailbox__account=filled.account, mailbox__name="Work")
    with filled.login() as client:
        client.rename("Work", "Aside")
        client.create("Work")
        client.select("Aside")
        client.uid("COPY", "1:*", "Work")
        client.unselect()
        client.delete("Aside")
    filled.settle(most=2)
    assert_in_step(filled)
    assert Checkpoint.objects.get(pk=checkpoint.pk).uidvalidity != checkpoint.uidvalidity
    assert uids_here(filled, "Work") == uids
    assert bodies_fetched(filled) == before


def test_emptied_and_deleted_mailboxes(filled: Upstream) -> None:
    with filled.login() as client:
        client.delete("Work")
        client.select("INBOX")
        client.uid("STORE", "1:*", "+FLAGS", "(\\Deleted)")
        client.expunge()
    filled.settle(most=2)
    assert_in_step(filled)
    assert not Mailbox.objects.filter(account=filled.account, name="Work").exists()
