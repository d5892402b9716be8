"""Under the policy of fetching nothing ahead, what a client reads comes over the watcher's connection, or by a task."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import pytest

from tests.e2e.figures import Report
from tests.e2e.raw_imap import RawClient
from tests.e2e.system import PASSWORD, System
from tests.fakes.delay_line import DelayLine
from tests.fakes.recording_proxy import Command, RecordingProxy
from tests.servers.dovecot import PASSWORD as UPSTREAM_PASSWORD
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

pytestmark = pytest.mark.dovecot

_ROUND_TRIP = 0.050
_MESSAGES = 30


def _message(number: int) -> bytes:
    return b"From: a@example.test\r\nSubject: number %d\r\n\r\n%s\r\n" % (number, b"body %d " % number * 2000)


@pytest.fixture
def proxy(dovecot: Dovecot) -> Iterator[RecordingProxy]:
    with RecordingProxy(dovecot.host, dovecot.plain_port) as proxy:
        yield proxy


@pytest.fixture
def upstream(dovecot: Dovecot, upstream_user: str) -> None:
    """Messages in INBOX, and some in Archive."""
    with dovecot.login(upstream_user) as client:
        for number in range(1, _MESSAGES + 1):
            client.append("INBOX", "", "", _message(number))
            client.append("Archive", "", "", _message(-number))


@pytest.fixture
def system() -> Iterator[System]:
    with System(settings={"FETCH_WAIT_SECONDS": "10"}) as system:
        system.start("imap")
        yield system


def _start(system: System, user: str, port: int, *names: str, connections: int = 2) -> str:
    """Add an account of which nothing is fetched ahead, start the rest, and return when it is in step."""
    address = system.add_account(user, port=port)
    system.query("UPDATE mailcache_account SET body_policy = 'on_demand', connection_limit = %s", connections)
    system.start(*names)
    system.wait_in_step(address)
    return address


def _opened(system: System, address: str, mailbox: bytes = b"INBOX") -> RawClient:
    client = RawClient(system.imap_port, address, PASSWORD)
    client.run(b"EXAMINE " + mailbox)
    return client


_AT_WORK = """
    SELECT count(*) FROM sync_syncrun WHERE finished_at IS NULL
    UNION ALL SELECT count(*) FROM sync_checkpoint WHERE wanted_at IS NOT NULL
"""


def _idling(system: System, proxy: RecordingProxy) -> Command:
    """Return the last IDLE of the connection that idles, when no sync is under way."""
    wait_until(lambda: proxy.commands("IDLE") and system.query(_AT_WORK) == [(0,), (0,)], 30)
    return proxy.commands("IDLE")[-1]


def _body(number: int) -> bytes:
    message = _message(number)
    return b"{%d}\r\n%b" % (len(message), message)


@pytest.mark.usefixtures("upstream")
def test_bodies_come_over_the_warm_connection(
    system: System, proxy: RecordingProxy, upstream_user: str, report_figure: Report
) -> None:
    with DelayLine(proxy.host, proxy.port, round_trip=_ROUND_TRIP) as line:
        address = _start(system, upstream_user, line.port, "worker", "beat", "watch")
        idle = _idling(system, proxy)
        assert system.query("SELECT count(*) FROM mailcache_content") == [(0,)]
        with _opened(system, address) as client:
            before = len(proxy.commands())
            seconds = []
            for number in range(1, _MESSAGES + 1):
                began = time.monotonic()
                (answer,) = client.run(b"FETCH %d (BODY.PEEK[])" % number)
                seconds.append(time.monotonic() - began)
                assert answer.endswith(_body(number) + b")"), answer[:200]
        fetches = [command for command in proxy.commands()[before:] if command.verb == "UID FETCH"]
        # One command for each message, on the connection that was there; no login for it, no second fetch.
        assert {command.connection for command in fetches} == {idle.connection}
        assert len(fetches) == _MESSAGES
        assert len(proxy.fetched_bodies()) == _MESSAGES
        directly = _seconds_directly(upstream_user, line.port)
        ours, theirs, slowest = (1000 * each for each in (statistics.median(seconds), directly, max(seconds)))
        report_figure(
            f"a message that was not here: median of {_MESSAGES} reads {ours:.0f} ms, the slowest {slowest:.0f} ms;"
            f" read from the upstream over the same line (round trip {1000 * _ROUND_TRIP:.0f} ms): {theirs:.0f} ms"
        )


def _seconds_directly(user: str, port: int) -> float:
    """Return the median time in which a client reads the same messages from the upstream itself."""
    seconds = []
    with RawClient(port, user, UPSTREAM_PASSWORD) as client:
        client.run(b"EXAMINE INBOX")
        for number in range(1, _MESSAGES + 1):
            began = time.monotonic()
            client.run(b"FETCH %d (BODY.PEEK[])" % number)
            seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


@pytest.mark.usefixtures("upstream")
def test_another_mailbox_many_at_once_and_back_to_inbox(
    system: System, proxy: RecordingProxy, dovecot: Dovecot, upstream_user: str
) -> None:
    address = _start(system, upstream_user, proxy.port, "worker", "beat", "watch")
    idle = _idling(system, proxy)
    with _opened(system, address, b"Archive") as client:
        before = len(proxy.commands())
        answers = client.run(b"FETCH 1:%d (BODY.PEEK[])" % _MESSAGES)
    numbers = {int(answer.split(b" ")[1]): answer for answer in answers}
    assert all(numbers[number].endswith(_body(-number) + b")") for number in range(1, _MESSAGES + 1))
    fetches = [command for command in proxy.commands()[before:] if command.verb == "UID FETCH"]
    assert {command.connection for command in fetches} == {idle.connection}
    assert len(fetches) < 5, "many messages that are wanted at once come in few commands"
    # The connection has gone back to INBOX: the upstream's next word is heard.
    wait_until(lambda: proxy.commands("IDLE")[-1].order > fetches[-1].order, 30)
    dovecot.deliver(upstream_user, b"Subject: after that\r\n\r\nnews\r\n")
    wait_until(lambda: system.query("SELECT messages FROM mailcache_mailbox WHERE name = 'INBOX'") == [(31,)], 30)


@pytest.mark.usefixtures("upstream")
@pytest.mark.parametrize("connections", [1, 2])
def test_without_a_watcher_a_task_fetches(
    system: System, proxy: RecordingProxy, upstream_user: str, connections: int
) -> None:
    names = ("worker", "beat", "watch") if connections == 1 else ("worker", "beat")
    address = _start(system, upstream_user, proxy.port, *names, connections=connections)
    with _opened(system, address) as client:
        (answer,) = client.run(b"FETCH 3 (BODY.PEEK[])")
        assert answer.endswith(_body(3) + b")")
    assert not proxy.commands("IDLE")


@pytest.mark.usefixtures("upstream")
def test_while_the_upstream_is_away_the_answer_is_unavailable(
    system: System, proxy: RecordingProxy, upstream_user: str
) -> None:
    address = _start(system, upstream_user, proxy.port, "worker", "beat", "watch")
    _idling(system, proxy)
    proxy.refuse()
    proxy.cut()
    with _opened(system, address) as client:
        answers = client.attempt(b"FETCH 1 (BODY.PEEK[])")
        assert [answer[:20] for answer in answers] == [b"t NO [UNAVAILABLE] 1"]
        # What needs no upstream is answered.
        assert client.run(b"FETCH 1:* (ENVELOPE)")
        proxy.allow()
        (answer,) = _until_read(client)
        assert answer.endswith(_body(1) + b")")


def _until_read(client: RawClient) -> list[bytes]:
    answers: list[bytes] = []

    def read() -> bool:
        answers[:] = client.attempt(b"FETCH 1 (BODY.PEEK[])")
        return answers[-1].startswith(b"t OK")

    wait_until(read, 120)
    return answers[:-1]
