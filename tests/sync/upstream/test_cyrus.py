"""The upstream client against a real Cyrus, whose extensions and faults are not Dovecot's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sync.upstream.endpoint import Credentials, Deadlines, Endpoint
from tests.builders import message_bytes
from tests.servers.cyrus import Cyrus
from tests.sync.upstream.drivers import Client, Connect, fetched

pytestmark = pytest.mark.dovecot


@pytest.fixture
def client(connect: Connect, cyrus: Cyrus, upstream_user: str) -> Iterator[Client]:
    """A client at the session's Cyrus, logged in as a new user."""
    endpoint = Endpoint(cyrus.host, cyrus.plain_port, "plain")
    with connect(endpoint, Credentials("login", upstream_user, cyrus.password), Deadlines()) as connected:
        yield connected


def test_messages_come_over_a_compressed_connection(client: Client, cyrus: Cyrus, upstream_user: str) -> None:
    message = message_bytes(body="again and again\r\n" * 5000)
    cyrus.deliver(upstream_user, message, flags=("\\Seen", "Work"))
    selected = client.examine(b"INBOX")
    (found,) = fetched(client, client.uid_search(), b"(UID FLAGS EMAILID BODY.PEEK[])")
    assert selected.exists == 1
    assert found.sections == {b"": message}
    assert set(found.flags or ()) - {"\\Recent"} == {"\\Seen", "Work"}
    assert found.email_id
    assert client.statistics.bytes_in < len(message)
    assert {"CONDSTORE", "QRESYNC"} <= client.enabled


def test_the_mailbox_id_comes_from_examine_and_never_from_status(client: Client) -> None:
    """STATUS (MAILBOXID) of Cyrus 3.6 is freed memory (tests/servers/test_servers.py shows it)."""
    listed = {box.name: box.status for box in client.list_mailboxes(status=True)}
    assert {"INBOX", "Sent", "Drafts", "Trash", "Junk", "Archive"} == listed.keys()
    told = [status for status in listed.values() if status is not None]
    assert len(told) == len(listed)
    assert all(status.uidvalidity and status.highestmodseq and status.uidnext == 1 for status in told)
    assert {status.mailbox_id for status in told} == {None}
    assert client.status(b"Sent").mailbox_id is None
    assert (client.examine(b"Sent").mailbox_id or "").isalnum()
    assert client.statistics.malformed == 0
