"""New mail upstream reaches a client that IDLEs on imapped, by the upstream's push alone."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from imapclient import IMAPClient

from tests.e2e.figures import Report
from tests.e2e.system import EVERYTHING, PASSWORD, System
from tests.fakes.recording_proxy import Command, RecordingProxy, Side
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

pytestmark = pytest.mark.dovecot

_MESSAGE = b"From: a@example.test\r\nSubject: pushed %d\r\n\r\nHere it is.\r\n"
_WAIT_SECONDS = 30


@pytest.fixture
def proxy(dovecot: Dovecot) -> Iterator[RecordingProxy]:
    with RecordingProxy(dovecot.host, dovecot.plain_port) as proxy:
        yield proxy


@pytest.fixture
def address(system: System, proxy: RecordingProxy, dovecot: Dovecot, upstream_user: str) -> str:
    """An account in step, which the watcher watches."""
    for number in range(3):
        dovecot.deliver(upstream_user, _MESSAGE % number)
    address = system.add_account(upstream_user, port=proxy.port)
    system.wait_in_step(address)
    wait_until(lambda: _idling(proxy) is not None, _WAIT_SECONDS)
    return address


@pytest.fixture
def system() -> Iterator[System]:
    with System() as system:
        system.start(*EVERYTHING)
        yield system


def _idling(proxy: RecordingProxy) -> Command | None:
    """Return the IDLE that the upstream has accepted and that nothing has followed, on a connection still open."""
    for command in reversed(proxy.commands("IDLE")):
        after = [line for line in proxy.lines() if line.order > command.order and line.connection == command.connection]
        said = [line for line in after if line.side is Side.CLIENT]
        if not said and any(line.text.startswith(b"+") for line in after) and command.connection in proxy.connections():
            return command
    return None


def test_new_mail_comes_without_a_poll(
    system: System, proxy: RecordingProxy, dovecot: Dovecot, upstream_user: str, address: str, report_figure: Report
) -> None:
    with IMAPClient("127.0.0.1", system.imap_port, ssl=False, timeout=60) as client:
        client.login(address, PASSWORD)
        assert client.select_folder("INBOX", readonly=True)[b"EXISTS"] == 3
        client.idle()
        idle = _idling(proxy)
        assert idle is not None
        asked_before = len(proxy.commands())
        began = time.monotonic()
        dovecot.deliver(upstream_user, _MESSAGE % 4)
        answers: list[tuple[object, ...]] = []
        while (4, b"EXISTS") not in answers:
            answers += client.idle_check(timeout=_WAIT_SECONDS)
            assert time.monotonic() - began < _WAIT_SECONDS, answers
        seconds = time.monotonic() - began
        client.idle_done()
        # Its bytes follow; the newest message is the one that was delivered.
        wait_until(lambda: _newest_body(client).endswith(_MESSAGE % 4), _WAIT_SECONDS)
    event = next(
        line
        for line in proxy.lines()
        if line.order > idle.order and line.connection == idle.connection and line.text == b"* 4 EXISTS"
    )
    between = [line for line in proxy.lines() if idle.order < line.order < event.order and line.side is Side.CLIENT]
    assert between == [], "imapped asked the upstream something instead of waiting"
    assert proxy.commands()[asked_before].order > event.order
    report_figure(f"EXISTS at the client {seconds * 1000:.0f} ms after delivery began upstream")


def _newest_body(client: IMAPClient) -> bytes:
    """Return the newest message, or nothing while its bytes are not here yet."""
    try:
        values = client.fetch(max(client.search("ALL")), ["BODY.PEEK[]"]).popitem()[1]
    except IMAPClient.Error as error:
        if "UNAVAILABLE" not in str(error):
            raise
        return b""
    body: bytes = values.get(b"BODY[]", b"")
    return body


def test_a_watcher_that_lost_its_connection_watches_again(
    system: System, proxy: RecordingProxy, dovecot: Dovecot, upstream_user: str, address: str
) -> None:
    first = _idling(proxy)
    assert first is not None
    proxy.cut()
    wait_until(lambda: _idling(proxy) is not None, 90)
    dovecot.deliver(upstream_user, _MESSAGE % 5)
    statement = "SELECT messages FROM mailcache_mailbox WHERE name = 'INBOX'"
    wait_until(lambda: system.query(statement) == [(4,)], _WAIT_SECONDS)
