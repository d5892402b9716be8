"""Every wait has an end, and what timed out is closed (field notes 1 to 4)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from sync.upstream.blocking import BlockingClient
from sync.upstream.endpoint import Credentials, Deadlines, Endpoint
from sync.upstream.errors import ConnectFailed, ConnectionLost, ConnectionPoisoned, TimedOut
from tests.fakes.scripted_imap import Action, ScriptedImap
from tests.servers.dovecot import free_port
from tests.sync.upstream.conftest import Script
from tests.sync.upstream.drivers import Client, Connect, fetched
from tests.waiting import wait_until

LONG = Deadlines(connect=60, tls=60, greeting=60, login=60, command=60, inactivity=60, idle=60)
CREDENTIALS = Credentials("login", "fred", "s3cret")


def within(limit: float, work: Callable[[], object]) -> None:
    """Run ``work``, which must time out long before the limits that it does not concern."""
    began = time.monotonic()
    with pytest.raises(TimedOut):
        work()
    assert time.monotonic() - began < limit


@pytest.mark.parametrize("limit", ["greeting", "login"])
def test_logging_in_has_deadlines(connect: Connect, limit: str) -> None:
    answers = {"LOGIN": Action.HANG}
    greeting = Action.HANG if limit == "greeting" else b"* OK hi\r\n"
    deadlines = replace(LONG, **{limit: 0.2})
    with ScriptedImap(answers, greeting=greeting) as server:
        endpoint = Endpoint("127.0.0.1", server.port, "plain")
        within(20, lambda: connect(endpoint, CREDENTIALS, deadlines))
        assert server.over.wait(10)


@pytest.mark.parametrize("limit", ["command", "inactivity"])
@pytest.mark.parametrize(
    "answer", [Action.HANG, (b"* 1 FETCH (UID 1 BODY[] {99}\r\nhalf", Action.HANG), (b"* 1 FETCH (UI", Action.HANG)]
)
def test_commands_have_deadlines(script: Script, limit: str, answer: Action | tuple[bytes, Action]) -> None:
    server, client = script({"UID FETCH": answer}, deadlines=replace(LONG, **{limit: 0.2}))

    within(20, lambda: fetched(client, [1], b"(BODY.PEEK[])"))

    assert client.poisoned
    assert server.over.wait(10)
    with pytest.raises(ConnectionPoisoned):
        client.noop()


def test_a_trickle_is_no_silence_but_ends_all_the_same(connect: Connect) -> None:
    with ScriptedImap({"NOOP": b"* OK wait\r\n"}) as server:
        client = connect(
            Endpoint("127.0.0.1", server.port, "plain"), CREDENTIALS, replace(LONG, command=0.6, inactivity=0.5)
        )
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.05):
                server.say(b"* OK still working\r\n")

        talker = threading.Thread(target=trickle)
        talker.start()
        try:
            with client:
                within(20, client.noop)
        finally:
            stop.set()
            talker.join()


def test_nobody_listens(connect: Connect) -> None:
    with pytest.raises(ConnectFailed):
        connect(Endpoint("127.0.0.1", free_port(), "plain"), CREDENTIALS, LONG)


@pytest.mark.parametrize("host", ["nothing.invalid", "a" * 70 + ".test", "bad host"])
def test_names_that_do_not_resolve(connect: Connect, host: str) -> None:
    with pytest.raises(ConnectFailed):
        connect(Endpoint(host, 143, "plain"), CREDENTIALS, LONG)


def test_closing_frees_a_parked_read() -> None:
    """Another thread may close the connection of one that waits for bytes (field note 2)."""
    with ScriptedImap({"NOOP": Action.HANG}) as server:
        client = BlockingClient.connect(Endpoint("127.0.0.1", server.port, "plain"), CREDENTIALS, LONG)
        faults: list[BaseException] = []

        def work() -> None:
            try:
                client.noop()
            except ConnectionLost as fault:
                faults.append(fault)

        worker = threading.Thread(target=work)
        worker.start()
        wait_until(lambda: b"NOOP" in server.commands)
        client.close()
        worker.join(timeout=20)
        assert len(faults) == 1


def test_logout_never_fails(script: Script) -> None:
    for answer in (b"{tag} OK no bye\r\n", b"{tag} NO stay\r\n", b"* BYE\r\n", Action.DROP, b"rubbish\r\n"):
        _, client = script({"LOGOUT": answer if isinstance(answer, Action) else (answer, Action.DROP)})
        client.logout()
        assert client.poisoned


def test_leaving_with_an_error_says_nothing(script: Script) -> None:
    server, client = script()

    def work(used: Client) -> None:
        with used:
            raise KeyError("caller")

    with pytest.raises(KeyError):
        work(client)
    assert server.over.wait(10)
    assert b"LOGOUT" not in server.commands
