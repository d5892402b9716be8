"""The real upstreams of the tests are what the tests take them for."""

from __future__ import annotations

import imaplib
import ssl

import pytest

from tests.builders import message_bytes
from tests.servers.cyrus import Cyrus
from tests.servers.dovecot import Dovecot
from tests.servers.imap_server import ImapServer

pytestmark = pytest.mark.dovecot


def _capabilities(server: ImapServer, user: str) -> set[str]:
    with server.login(user) as client:
        return set(client.capability()[1][0].decode().split())


def test_dovecot_offers_what_the_tiers_use(dovecot: Dovecot, upstream_user: str) -> None:
    offered = _capabilities(dovecot, upstream_user)
    assert offered >= {"CONDSTORE", "QRESYNC", "ENABLE", "IDLE", "ESEARCH", "LIST-STATUS", "SPECIAL-USE", "NAMESPACE"}


def test_cyrus_offers_what_the_tiers_use_and_object_ids(cyrus: Cyrus, upstream_user: str) -> None:
    offered = _capabilities(cyrus, upstream_user)
    assert offered >= {
        "CONDSTORE",
        "QRESYNC",
        "ENABLE",
        "IDLE",
        "ESEARCH",
        "LIST-STATUS",
        "OBJECTID",
        "COMPRESS=DEFLATE",
    }
    assert "NOTIFY" not in offered


def test_cyrus_keeps_mail_and_has_the_usual_mailboxes(cyrus: Cyrus, upstream_user: str) -> None:
    message = message_bytes("kept")
    cyrus.deliver(upstream_user, message, flags=("\\Seen", "Work"))
    with cyrus.login(upstream_user) as client:
        listed = [line.decode() for line in client.list()[1] if isinstance(line, bytes)]
        client.select("INBOX", readonly=True)
        _, answer = client.uid("FETCH", "1", "(FLAGS BODY.PEEK[])")
    assert any("\\sent" in line.lower() and line.endswith("Sent") for line in listed)
    assert answer[0][1] == message
    assert b"\\Seen" in answer[0][0] + answer[1]
    assert b"Work" in answer[0][0] + answer[1]


def test_cyrus_serves_tls_and_comes_back_with_its_mail(cyrus: Cyrus, upstream_user: str) -> None:
    cyrus.deliver(upstream_user, message_bytes("kept"))
    cyrus.stop()
    cyrus.start()
    context = ssl.create_default_context(cafile=str(cyrus.ca_file))
    client = imaplib.IMAP4_SSL("localhost", cyrus.tls_port, ssl_context=context, timeout=60)
    client.login(upstream_user, cyrus.password)
    assert client.select("INBOX")[1] == [b"1"]
    client.logout()


def test_the_mailbox_id_of_cyrus_3_6_is_right_in_select_and_wrong_in_status(cyrus: Cyrus, upstream_user: str) -> None:
    """STATUS (MAILBOXID) of 3.6 answers with bytes of freed memory, LIST-STATUS too."""
    with cyrus.login(upstream_user) as client:
        (status,) = client.status("Sent", "(MESSAGES MAILBOXID)")[1]
        client.select("Sent")
        (selected,) = client.response("MAILBOXID")[1]
    assert selected is not None
    assert selected.strip(b"()").isalnum()
    assert b"MAILBOXID (" in status
    assert selected.strip(b"()") not in status
