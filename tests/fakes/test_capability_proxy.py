"""A server behind the proxy looks like one that lacks what is hidden, and is otherwise itself."""

from __future__ import annotations

import contextlib
import imaplib
import zlib
from collections.abc import Iterator

import pytest

from tests.builders import message_bytes
from tests.fakes.capability_proxy import NO_CONDSTORE, NO_QRESYNC, CapabilityProxy
from tests.servers.cyrus import Cyrus
from tests.servers.dovecot import Dovecot
from tests.servers.imap_server import ImapServer

pytestmark = pytest.mark.dovecot


@contextlib.contextmanager
def _client(server: ImapServer, user: str, hidden: frozenset[str]) -> Iterator[tuple[imaplib.IMAP4, CapabilityProxy]]:
    with CapabilityProxy(server.host, server.plain_port, hidden=hidden) as proxy:
        client = imaplib.IMAP4(proxy.host, proxy.port, timeout=20)
        try:
            client.login(user, server.password)
            yield client, proxy
        finally:
            client.shutdown()


def _say(client: imaplib.IMAP4, *command: str) -> tuple[str, str]:
    """Send a command that imaplib does not know; returns its result and everything untagged, as text."""
    for name in list(client.untagged_responses):
        del client.untagged_responses[name]
    tag = client._new_tag()
    client.send(tag + b" " + " ".join(command).encode() + b"\r\n")
    lines: list[bytes] = []
    while not lines or not lines[-1].startswith(tag):
        lines.append(client.readline())
    return lines[-1].split()[1].decode(), b"".join(lines).decode()


@pytest.fixture(params=["dovecot", "cyrus"])
def server(request: pytest.FixtureRequest) -> ImapServer:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, ImapServer)
    return found


def test_nothing_hidden_is_the_server_itself(server: ImapServer, upstream_user: str) -> None:
    with server.login(upstream_user) as direct, _client(server, upstream_user, frozenset()) as (client, _):
        assert client.capability() == direct.capability()


def test_without_condstore(server: ImapServer, upstream_user: str) -> None:
    server.deliver(upstream_user, message_bytes())
    with _client(server, upstream_user, NO_CONDSTORE) as (client, proxy):
        assert not {"CONDSTORE", "QRESYNC"} & set(client.capability()[1][0].decode().split())
        status, answer = _say(client, "ENABLE CONDSTORE QRESYNC")
        assert status in {"OK", "NO"}
        assert not {"CONDSTORE", "QRESYNC"} & set(answer.split())
        assert _say(client, "EXAMINE INBOX (CONDSTORE)")[0] == "BAD"
        assert _say(client, "STATUS INBOX (MESSAGES HIGHESTMODSEQ)")[0] == "BAD"
        status, answer = _say(client, "SELECT INBOX")
        assert status == "OK"
        assert "MODSEQ" not in answer
        assert _say(client, "UID FETCH 1 (FLAGS MODSEQ)")[0] == "BAD"
        assert _say(client, "UID FETCH 1 (FLAGS) (CHANGEDSINCE 1)")[0] == "BAD"
        status, answer = _say(client, "UID STORE 1 +FLAGS (\\Seen)")
        assert status == "OK"
        assert "MODSEQ" not in answer
        status, answer = _say(client, "UID FETCH 1 (FLAGS BODY.PEEK[])")
        assert "\\Seen" in answer
        assert "MODSEQ" not in answer
        said = [line.text for line in proxy.lines()]
        assert not any(b"QRESYNC" in text for text in said if text.startswith(b"*"))


def test_without_qresync(server: ImapServer, upstream_user: str) -> None:
    server.deliver(upstream_user, message_bytes())
    with _client(server, upstream_user, NO_QRESYNC) as (client, _):
        offered = set(client.capability()[1][0].decode().split())
        assert "CONDSTORE" in offered
        assert "QRESYNC" not in offered
        status, answer = _say(client, "ENABLE CONDSTORE QRESYNC")
        assert status == "OK"
        assert "QRESYNC" not in answer
        status, answer = _say(client, "SELECT INBOX")
        assert "HIGHESTMODSEQ" in answer
        assert _say(client, "SELECT INBOX (QRESYNC (1 1))")[0] == "BAD"
        assert _say(client, "UID FETCH 1 (FLAGS) (CHANGEDSINCE 1 VANISHED)")[0] == "BAD"
        assert "MODSEQ (" in _say(client, "UID FETCH 1 (FLAGS) (CHANGEDSINCE 1)")[1]
        assert _say(client, "UID STORE 1 +FLAGS (\\Deleted)")[0] == "OK"
        answer = _say(client, "EXPUNGE")[1]
        assert "EXPUNGE" in answer
        assert "VANISHED" not in answer


def test_names_in_quotes_hide_nothing(dovecot: Dovecot, upstream_user: str) -> None:
    with _client(dovecot, upstream_user, NO_CONDSTORE) as (client, _):
        assert _say(client, 'CREATE "HIGHESTMODSEQ"')[0] == "OK"
        assert _say(client, 'STATUS "HIGHESTMODSEQ" (MESSAGES)')[0] == "OK"


def test_special_use_and_uidplus(dovecot: Dovecot, upstream_user: str) -> None:
    hidden = frozenset({"SPECIAL-USE", "UIDPLUS", "LIST-STATUS", "MOVE", "ESEARCH", "ENABLE"})
    with _client(dovecot, upstream_user, hidden) as (client, _):
        status, answer = _say(client, 'LIST "" "*"')
        assert status == "OK"
        assert "\\Sent" not in answer
        assert "Sent" in answer
        assert _say(client, 'LIST "" "*" RETURN (SPECIAL-USE)')[0] == "BAD"
        assert _say(client, 'LIST "" "*" RETURN (STATUS (MESSAGES))')[0] == "BAD"
        assert _say(client, "ENABLE CONDSTORE")[0] == "BAD"
        status, (answer_of_append, *_) = client.append("INBOX", "", None, message_bytes())
        assert status == "OK"
        assert b"APPENDUID" not in answer_of_append
        client.select("INBOX")
        assert _say(client, "UID MOVE 1 Trash")[0] == "BAD"
        assert _say(client, "UID EXPUNGE 1")[0] == "BAD"
        assert _say(client, "UID SEARCH RETURN (ALL) ALL")[0] == "BAD"


def test_a_compressed_connection_is_read_along(cyrus: Cyrus, upstream_user: str) -> None:
    message = message_bytes(body="compressed\r\n" * 2000)
    cyrus.deliver(upstream_user, message)
    with CapabilityProxy(cyrus.host, cyrus.plain_port, hidden=NO_CONDSTORE) as proxy:
        client = imaplib.IMAP4(proxy.host, proxy.port, timeout=20)
        client.login(upstream_user, cyrus.password)
        assert _say(client, "COMPRESS DEFLATE")[0] == "OK"
        deflate, inflate = zlib.compressobj(wbits=-15), zlib.decompressobj(-15)
        sock = client.socket()

        def say(text: bytes) -> bytes:
            sock.sendall(deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH))
            answer = b""
            while not answer.endswith(b"\r\n") or text.split()[0] + b" " not in answer[-200:]:
                answer += inflate.decompress(sock.recv(65536))
            return answer

        assert b"HIGHESTMODSEQ" not in say(b"x1 SELECT INBOX\r\n")
        assert say(b"x2 STATUS INBOX (HIGHESTMODSEQ)\r\n").startswith(b"x2 BAD")
        assert message in say(b"x3 UID FETCH 1 (BODY.PEEK[])\r\n")
        client.shutdown()
        assert [command.verb for command in proxy.commands()][-4:] == ["COMPRESS", "SELECT", "STATUS", "UID FETCH"]
