"""A flag changed through one connection is seen at the next NOOP of another process's, with Valkey stopped."""

from __future__ import annotations

import imaplib
import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.mirror import imaplib_login
from tests.e2e.processes import owner_of_connection, session_processes
from tests.e2e.system import PASSWORD, System
from tests.servers.dovecot import Dovecot

pytestmark = pytest.mark.dovecot

_MESSAGES = 20
_CONNECTIONS = 60


@pytest.fixture
def system() -> Iterator[System]:
    with System() as system:
        system.start("imap", "worker", "beat")
        yield system


@pytest.fixture
def address(system: System, dovecot: Dovecot, upstream_user: str) -> str:
    with dovecot.login(upstream_user) as client:
        for number in range(_MESSAGES):
            client.append("INBOX", "", "", b"Subject: %d\r\n\r\nRead me.\r\n" % number)
    address = system.add_account(upstream_user, port=dovecot.plain_port)
    system.wait_in_step(address)
    return address


def _in_two_processes(system: System, address: str, stack: ExitStack) -> tuple[imaplib.IMAP4, imaplib.IMAP4]:
    """Return two connections that different processes serve, with INBOX open in both."""
    pids = session_processes(system.process("imap").pid)
    first: imaplib.IMAP4 | None = None
    owner = 0
    for _ in range(_CONNECTIONS):
        client = stack.enter_context(imaplib_login(system.imap_port, address, PASSWORD))
        client_port = client.socket().getsockname()[1]
        served_by = owner_of_connection(pids, server_port=system.imap_port, client_port=client_port)
        if first is None:
            first, owner = client, served_by
        elif served_by != owner:
            for each in (first, client):
                assert each.select("INBOX")[0] == "OK"
            return first, client
    raise AssertionError(f"{_CONNECTIONS} connections, all served by process {owner}")


def _read(client: imaplib.IMAP4, number: int) -> None:
    """Read a message as mail clients do, which marks it as seen."""
    status, answer = client.fetch(str(number), "(BODY[])")
    assert (status, answer[0] is None) == ("OK", False)


def _seen_at_noop(client: imaplib.IMAP4) -> list[int]:
    """Return the messages that one NOOP reports as seen."""
    client.response("FETCH")  # what was told before
    assert client.noop()[0] == "OK"
    lines = [line for line in client.response("FETCH")[1] if isinstance(line, bytes)]
    matches = [re.match(rb"(\d+) \(.*FLAGS \(([^)]*)\)", line) for line in lines]
    return [int(match[1]) for match in matches if match is not None and b"\\Seen" in match[2].split()]


def test_the_next_noop_of_another_process_tells_it(system: System, address: str) -> None:
    system.stop("worker", "beat")
    system.servers.stop()
    with ExitStack() as stack:
        one, other = _in_two_processes(system, address, stack)
        for number in range(1, _MESSAGES + 1):
            reader, waiting = (one, other) if number % 2 else (other, one)
            _read(reader, number)
            # This very NOOP, not one of the next.
            assert number in _seen_at_noop(waiting)


def test_seen_survives_a_sync(system: System, address: str) -> None:
    """The upstream does not know of it yet, and must not undo it."""
    with imaplib_login(system.imap_port, address, PASSWORD) as client:
        client.select("INBOX")
        _read(client, 1)
        system.sync(address)
        assert client.noop()[0] == "OK"
        client.response("FETCH")
        answer = client.fetch("1:2", "(FLAGS)")[1]
        assert [b"\\Seen" in line for line in answer if isinstance(line, bytes)] == [True, False]
