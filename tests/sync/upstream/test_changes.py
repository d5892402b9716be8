"""Commands that change mail, against a real Dovecot: what is changed there, and what is told of where it went."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from sync.upstream.blocking import BlockingClient
from sync.upstream.endpoint import Credentials, Endpoint
from sync.upstream.errors import CommandNo
from sync.upstream.values import FetchedMessage, NewMessage
from tests.builders import message_bytes
from tests.servers.dovecot import PASSWORD, Dovecot

pytestmark = pytest.mark.dovecot

DATE = datetime(2024, 5, 7, 10, 30, tzinfo=UTC)


@pytest.fixture(params=[(), ("LITERAL+",)], ids=["", "no-LITERAL+"])
def client(request: pytest.FixtureRequest, dovecot: Dovecot, upstream_user: str) -> Iterator[BlockingClient]:
    endpoint = Endpoint(dovecot.host, dovecot.plain_port, tls_mode="plain")
    with BlockingClient.connect(
        endpoint, Credentials("login", upstream_user, PASSWORD), refused=request.param
    ) as client:
        yield client


def new(data: bytes, *flags: str) -> NewMessage:
    return NewMessage(flags, DATE, len(data), lambda: [data[:10], data[10:]])


def fetched(client: BlockingClient, mailbox: bytes) -> dict[int, FetchedMessage]:
    found: dict[int, FetchedMessage] = {}

    def take(message: FetchedMessage) -> None:
        if message.uid is not None:
            found[message.uid] = message

    client.select(mailbox)
    client.uid_fetch(client.uid_search(), b"(FLAGS INTERNALDATE BODY.PEEK[])", on_message=take)
    return found


def test_append_one_and_several(client: BlockingClient) -> None:
    data = message_bytes("one")
    first = client.append(b"INBOX", [new(data, "\\Seen", "$work")])
    several = client.append(b"INBOX", [new(message_bytes("two")), new(message_bytes("three"), "\\Flagged")])
    assert (len(first.uids), len(several.uids)) == (1, 2)
    there = fetched(client, b"INBOX")
    appended = there[first.uids[0]]
    assert appended.sections == {b"": data}
    assert set(appended.flags or ()) - {"\\Recent"} == {"\\Seen", "$work"}
    assert appended.internal_date == DATE
    assert "\\Flagged" in (there[several.uids[1]].flags or ())
    assert client.select(b"INBOX").uidvalidity == first.uidvalidity


def test_append_to_nowhere_leaves_the_connection_usable(client: BlockingClient) -> None:
    with pytest.raises(CommandNo) as failure:
        client.append(b"Nowhere", [new(message_bytes())])
    assert failure.value.code == "TRYCREATE"
    client.noop()


def test_copy_and_move_tell_where(client: BlockingClient) -> None:
    uids = client.append(b"INBOX", [new(message_bytes(f"{n}")) for n in range(3)]).uids
    client.create(b"Archive")
    client.select(b"INBOX")
    copied = client.uid_copy(uids[:2], b"Archive")
    moved = client.uid_move(uids[1:], b"Archive")
    assert set(copied.uids) == set(uids[:2])
    assert set(moved.uids) == set(uids[1:])
    assert client.uid_search() == [uids[0]]
    assert set(fetched(client, b"Archive")) == {*copied.uids.values(), *moved.uids.values()}
    assert client.uid_copy([4_000_000], b"Archive").uids == {}


def test_store_and_expunge_exactly(client: BlockingClient) -> None:
    uids = client.append(b"INBOX", [new(message_bytes(), "\\Deleted"), new(message_bytes()), new(message_bytes())]).uids
    client.select(b"INBOX")
    client.uid_store(uids[1:], b"+FLAGS.SILENT", ["\\Deleted", "$x"])
    client.uid_store(uids[2:], b"-FLAGS.SILENT", ["$x"])
    client.uid_expunge(uids[1:2])
    assert client.uid_search() == [uids[0], uids[2]]
    client.expunge()
    assert client.uid_search() == []


def test_mailboxes(client: BlockingClient) -> None:
    client.create(b"a/b")
    client.subscribe(b"a/b", subscribed=True)
    client.rename(b"a", b"c")
    assert {b"c", b"c/b"} <= {listed.name_raw for listed in client.list_mailboxes()}
    client.subscribe(b"a/b", subscribed=False)
    client.delete(b"c/b")
    with pytest.raises(CommandNo):
        client.delete(b"c/b")
    assert b"c/b" not in {listed.name_raw for listed in client.list_mailboxes()}
