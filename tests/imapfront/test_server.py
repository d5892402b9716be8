"""The server as a whole: pipelining, IDLE, several processes, limits, an orderly end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailcache.services.flags import store_flags
from mailcache.services.ingest_expunge import remove_messages
from mailcache.wire.number_set import NumberSet
from tests.builders import UIDVALIDITY, message_bytes
from tests.imapfront.fixtures import MirroredAccount
from tests.imapfront.frontend import Frontend
from tests.imapfront.raw_client import RawClient
from tests.mailcache.deltas import adding
from tests.waiting import wait_until


@pytest.fixture
def client(frontend: Frontend, mirrored: MirroredAccount) -> Iterator[RawClient]:
    with RawClient(frontend.plain_port) as connection:
        connection.login(mirrored.user.email)
        yield connection


def test_the_greeting_tells_what_is_possible(frontend: Frontend) -> None:
    with RawClient(frontend.plain_port) as connection:
        assert connection.greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 ")
        assert b" STARTTLS AUTH=PLAIN]" in connection.greeting


def test_pipelined_commands_are_answered_in_order(client: RawClient, mirrored: MirroredAccount) -> None:
    mirrored.add({1: message_bytes()})

    client.send(
        b"a SELECT INBOX\r\nb NOOP\r\nc FETCH 1 (UID)\r\nd FETCH 1 ENVELOPE\r\ne SEARCH ALL\r\nf CLOSE\r\ng NOOP\r\n"
    )

    tags = [line[:1] for line in client.until(b"g ") if line[1:2] == b" " and not line.startswith(b"*")]
    assert tags == [b"a", b"b", b"c", b"d", b"e", b"f", b"g"]


def test_numbers_beyond_the_end_are_the_mistake_of_the_client(client: RawClient, mirrored: MirroredAccount) -> None:
    mirrored.add({1: message_bytes()})
    client.send(b"a SELECT INBOX\r\nb FETCH 2 FLAGS\r\nc FETCH 1:9 (UID FLAGS)\r\n")
    assert client.until(b"b ")[-1] == b"b BAD no such message"
    assert client.line() == b"c BAD no such message"
    assert client.command(b"FETCH 1 UID") == [b"* 1 FETCH (UID 1)", b"t OK FETCH completed"]


def test_the_state_table(client: RawClient) -> None:
    for line in (b"FETCH 1 FLAGS", b"CLOSE", b"SEARCH ALL", b"LOGIN a b", b"STARTTLS"):
        assert client.command(line)[-1].startswith(b"t BAD"), line
    assert client.command(b"SELECT Nowhere")[-1].startswith(b"t NO [NONEXISTENT]")
    assert client.command(b"LOGOUT")[0].startswith(b"* BYE")
    assert client.line() == b""


def test_idle_tells_what_happens_as_it_happens(client: RawClient, mirrored: MirroredAccount) -> None:
    mirrored.add({1: message_bytes(), 2: message_bytes()})
    client.command(b"SELECT INBOX")
    client.send(b"i IDLE\r\n")
    assert client.line().startswith(b"+ ")

    mirrored.add({3: message_bytes()})
    assert client.until(b"* 3 EXISTS")
    store_flags(
        user_id=mirrored.user.pk, mailbox_id=mirrored.inbox.pk, uids=NumberSet.from_numbers([2]), store=adding("x")
    )
    assert client.until(b"* 2 FETCH")[-1] == b"* 2 FETCH (UID 2 FLAGS (x \\Recent))"
    remove_messages(fence=mirrored.fence, mailbox_id=mirrored.inbox.pk, uidvalidity=UIDVALIDITY, uids=[1])
    assert client.until(b"* 1 EXPUNGE")
    client.send(b"DONE\r\n")
    assert client.line() == b"i OK IDLE completed"


def test_an_expunge_waits_until_numbers_may_change(client: RawClient, mirrored: MirroredAccount) -> None:
    mirrored.add({1: message_bytes(), 2: message_bytes()})
    client.command(b"SELECT INBOX")
    remove_messages(fence=mirrored.fence, mailbox_id=mirrored.inbox.pk, uidvalidity=UIDVALIDITY, uids=[1])

    fetched = client.command(b"FETCH 1:2 (UID FLAGS)")
    assert [line for line in fetched if b"EXPUNGE" in line] == [
        b"t NO [EXPUNGEISSUED] some of the messages no longer exist"
    ]
    assert any(b"UID 2" in line for line in fetched)
    assert b"* 1 EXPUNGE" in client.command(b"NOOP")
    assert client.command(b"FETCH 1 UID")[0] == b"* 1 FETCH (UID 2)"


def test_a_change_by_one_process_is_seen_by_the_next_command_of_another(
    frontend: Frontend, mirrored: MirroredAccount
) -> None:
    mirrored.add({1: message_bytes()})
    clients = [RawClient(frontend.plain_port) for _ in range(8)]
    try:
        for client in clients:
            client.login(mirrored.user.email)
            client.command(b"SELECT INBOX")
        clients[0].command(b"FETCH 1 BODY[TEXT]")
        for client in clients[1:]:
            assert any(b"\\Seen" in line for line in client.command(b"NOOP"))
    finally:
        for client in clients:
            client.close()


def test_a_mailbox_that_was_closed_is_current_when_it_is_opened_again(
    client: RawClient, mirrored: MirroredAccount
) -> None:
    mirrored.add({1: message_bytes(), 2: message_bytes()})
    for _ in range(2):
        assert b"* 2 EXISTS" in client.command(b"EXAMINE INBOX")
        client.command(b"CLOSE")
    mirrored.add({3: message_bytes()})
    remove_messages(fence=mirrored.fence, mailbox_id=mirrored.inbox.pk, uidvalidity=UIDVALIDITY, uids=[1, 2])

    assert b"* 1 EXISTS" in client.command(b"EXAMINE INBOX")
    assert client.command(b"FETCH 1 UID")[0] == b"* 1 FETCH (UID 3)"


def test_flags_that_reading_sets_are_told_once(client: RawClient, mirrored: MirroredAccount) -> None:
    mirrored.add({1: message_bytes()})
    client.command(b"SELECT INBOX")

    told = client.command(b"FETCH 1 BODY[TEXT]") + client.command(b"NOOP")

    assert [line for line in told if b"FLAGS (\\Seen" in line] == [
        b"* 1 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT] {14}"
    ]


def test_a_large_message_is_streamed(client: RawClient, mirrored: MirroredAccount) -> None:
    body = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 64 * 1024 * 3
    mirrored.add({1: body})
    client.command(b"SELECT INBOX")

    client.send(b"t FETCH 1 (BODY.PEEK[] BODY.PEEK[TEXT]<1000000.5>)\r\n")

    assert client.line() == b"* 1 FETCH (BODY[] {%d}" % len(body)
    assert client.read(len(body)) == body
    assert client.read(30) == b" BODY[TEXT]<1000000> {5}\r\n0123"
    client.until(b"t OK")


def test_guessing_passwords_is_slowed_and_ended(frontend: Frontend, mirrored: MirroredAccount) -> None:
    name = mirrored.user.email.encode()
    with RawClient(frontend.plain_port) as guesser:
        for _ in range(5):
            assert b"AUTHENTICATIONFAILED" in guesser.command(b"LOGIN %b wrong" % name)[-1]
        assert guesser.line() == b""
    with RawClient(frontend.plain_port) as other:
        answer = other.command(b'LOGIN %b "correct horse"' % name)[-1]
    assert b"too many failed logins" in answer


def test_a_client_that_talks_http_is_hung_up_on(frontend: Frontend) -> None:
    with RawClient(frontend.plain_port) as client:
        client.send(b"GET / HTTP/1.1\r\n" + b"Header: x\r\n" * 20)
        assert client.until(b"* BYE")


def test_stopping_says_bye_and_a_dead_process_is_replaced(mirrored: MirroredAccount, tmp_path: Path) -> None:
    frontend = Frontend(tmp_path, workers=1)
    frontend.start()
    children = Path(f"/proc/{frontend.pid}/task/{frontend.pid}/children")
    (first,) = children.read_text().split()
    os.kill(int(first), signal.SIGKILL)
    wait_until(lambda: children.read_text().split() not in ([], [first]))
    wait_until(frontend.greets)
    with RawClient(frontend.plain_port) as client:
        client.login(mirrored.user.email)
        assert frontend.stop() == 0
        assert client.line() == b"* BYE the server is stopping"
        assert client.line() == b""
