"""Every switch and every fault of the chaos proxy does what it says, and nothing happens unasked."""

from __future__ import annotations

import contextlib
import imaplib
import socket
import time
from collections.abc import Callable, Iterator
from random import Random

import pytest

from tests.builders import message_bytes
from tests.fakes.chaos_proxy import ChaosProxy, Fault, Kind, Switches, random_fault
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

pytestmark = pytest.mark.dovecot

MESSAGE = message_bytes("in chaos", "0123456789\r\n" * 100)


@pytest.fixture
def proxy(dovecot: Dovecot) -> Iterator[ChaosProxy]:
    with ChaosProxy(dovecot.host, dovecot.plain_port) as proxy:
        yield proxy


Login = Callable[[], imaplib.IMAP4]


@pytest.fixture
def login(proxy: ChaosProxy, dovecot: Dovecot, upstream_user: str) -> Iterator[Login]:
    """Logs in to a mailbox with one message."""
    dovecot.deliver(upstream_user, MESSAGE)
    with contextlib.ExitStack() as stack:

        def connect() -> imaplib.IMAP4:
            client = imaplib.IMAP4(proxy.host, proxy.port, timeout=20)
            stack.callback(client.shutdown)
            client.login(upstream_user, dovecot.password)
            return client

        yield connect


@pytest.fixture
def client(login: Login) -> imaplib.IMAP4:
    client = login()
    client.select("INBOX")
    return client


def _raw(client: imaplib.IMAP4, text: bytes) -> bytes:
    """Send a command and return everything until the connection ends."""
    client.send(b"x1 " + text + b"\r\n")
    sock, answer = client.socket(), b""
    while data := sock.recv(1 << 16):
        answer += data
    return answer


def _until_silent(client: imaplib.IMAP4) -> bytes:
    heard = b""
    with contextlib.suppress(TimeoutError):
        while data := client.socket().recv(1 << 16):
            heard += data
        raise AssertionError("the connection has ended")
    return heard


class TestFaults:
    @pytest.mark.parametrize("kind", [Kind.NO, Kind.BAD])
    def test_refused(self, proxy: ChaosProxy, client: imaplib.IMAP4, kind: Kind) -> None:
        fault = Fault(kind, "UID FETCH", number=2, text="[INUSE] not now")
        proxy.arm(fault)
        assert client.uid("FETCH", "1", "(FLAGS)")[0] == "OK"
        assert not proxy.fired
        if kind is Kind.NO:
            assert client.uid("FETCH", "1", "(FLAGS)") == ("NO", [b"[INUSE] not now"])
        else:
            with pytest.raises(imaplib.IMAP4.error, match="not now"):
                client.uid("FETCH", "1", "(FLAGS)")
        assert proxy.fired == [fault]
        assert client.uid("FETCH", "1", "(FLAGS)")[0] == "OK"

    def test_refused_with_a_literal_of_its_own(self, proxy: ChaosProxy, client: imaplib.IMAP4) -> None:
        proxy.arm(Fault(Kind.NO, "APPEND"))
        client.send(b"x1 APPEND INBOX {5+}\r\nabcde\r\nx2 NOOP\r\n")
        assert client.readline().startswith(b"x1 NO")
        assert client.readline().startswith(b"x2 OK")

    def test_bye(self, proxy: ChaosProxy, client: imaplib.IMAP4) -> None:
        proxy.arm(Fault(Kind.BYE, "UID FETCH", text="[ALERT] going down"))
        assert _raw(client, b"UID FETCH 1 (FLAGS)") == b"* BYE [ALERT] going down\r\n"

    def test_cut_before_and_after_the_command_is_done(
        self, proxy: ChaosProxy, login: Login, dovecot: Dovecot, upstream_user: str
    ) -> None:
        for kind, done in ((Kind.CUT_BEFORE, False), (Kind.CUT_AFTER, True)):
            proxy.arm(Fault(kind, "CREATE"))
            other = login()
            assert _raw(other, b"CREATE %s" % kind.name.encode()) == b""
            with dovecot.login(upstream_user) as direct:
                assert (direct.list('""', kind.name)[1] != [None]) is done

    def test_cut_in_the_answer_and_in_its_literal(self, proxy: ChaosProxy, login: Login) -> None:
        whole = b"* 1 FETCH (UID 1 BODY[] {%d}\r\n" % len(MESSAGE) + MESSAGE
        for fault, expected in (
            (Fault(Kind.CUT_IN_ANSWER, "UID FETCH", after=10), whole[:10]),
            (Fault(Kind.CUT_IN_LITERAL, "UID FETCH", after=100), whole[: whole.index(b"\r\n") + 2 + 100]),
        ):
            client = login()
            client.select("INBOX", readonly=True)
            proxy.arm(fault)
            assert _raw(client, b"UID FETCH 1 (BODY.PEEK[])") == expected

    def test_a_literal_that_does_not_come_is_not_waited_for(self, proxy: ChaosProxy, client: imaplib.IMAP4) -> None:
        proxy.arm(Fault(Kind.CUT_IN_LITERAL, "NOOP"))
        client.noop()
        assert client.uid("FETCH", "1", "(BODY.PEEK[])")[0] == "OK"

    def test_reply_dropped_and_hang(self, proxy: ChaosProxy, login: Login) -> None:
        for kind, answered in ((Kind.DROP_REPLY, True), (Kind.HANG, False)):
            client = login()
            client.socket().settimeout(0.3)
            proxy.arm(Fault(kind, "SELECT"))
            client.send(b"x1 SELECT INBOX\r\n")
            heard = _until_silent(client)
            assert (b"EXISTS" in heard) is answered
            assert b"x1" not in heard

    def test_random_faults_are_the_same_for_the_same_seed(self) -> None:
        def draw(seed: int) -> list[Fault]:
            rng = Random(seed)
            return [random_fault(rng, ("LIST", "UID FETCH"), tuple(Kind)) for _ in range(20)]

        assert draw(7) == draw(7)
        assert draw(7) != draw(8)


class TestSwitches:
    def test_sizes(self, proxy: ChaosProxy, client: imaplib.IMAP4) -> None:
        proxy.switches = Switches(sizes=lambda size: size + 7)
        _, (answer,) = client.uid("FETCH", "1", "(RFC822.SIZE)")
        assert b"RFC822.SIZE %d" % (len(MESSAGE) + 7) in answer

    def test_literal_sizes(self, proxy: ChaosProxy, client: imaplib.IMAP4) -> None:
        proxy.switches = Switches(literal_sizes=lambda size: size - 10)
        client.send(b"x1 UID FETCH 1 (BODY.PEEK[])\r\n")
        assert client.readline().endswith(b"{%d}\r\n" % (len(MESSAGE) - 10))
        assert client.read(len(MESSAGE)) == MESSAGE

    def test_capabilities(self, proxy: ChaosProxy, client: imaplib.IMAP4) -> None:
        proxy.switches = Switches(capabilities=b"IMAP4rev1 X-ODD")
        assert client.capability()[1] == [b"IMAP4rev1 X-ODD"]

    def test_uidvalidity_depends_on_the_connection(
        self, proxy: ChaosProxy, client: imaplib.IMAP4, login: Login
    ) -> None:
        proxy.switches = Switches(uidvalidities=(0, 1000))
        other = login()
        found = [
            int(each.status("INBOX", "(UIDVALIDITY)")[1][0].split()[-1].rstrip(b")"))
            for each in (client, other, client)
        ]
        assert abs(found[0] - found[1]) == 1000
        assert found[0] == found[2]

    def test_cut_after_bytes_counts_from_the_beginning(self, proxy: ChaosProxy) -> None:
        proxy.switches = Switches(cut_after=10)
        with socket.create_connection((proxy.host, proxy.port), timeout=10) as connection:
            heard = b""
            while data := connection.recv(100):
                heard += data
        assert len(heard) == 10

    def test_accept_and_close(self, proxy: ChaosProxy) -> None:
        proxy.switches = Switches(accept_and_close=True)
        with socket.create_connection((proxy.host, proxy.port), timeout=10) as connection:
            assert connection.recv(100) == b""

    def test_refuse(self, proxy: ChaosProxy) -> None:
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((proxy.host, proxy.port), timeout=10)
        proxy.allow()
        with socket.create_connection((proxy.host, proxy.port), timeout=10) as connection:
            assert connection.recv(4) == b"* OK"

    def test_latency_and_throttle_delay(self, proxy: ChaosProxy, client: imaplib.IMAP4) -> None:
        began = time.monotonic()
        proxy.switches = Switches(latency=0.05)
        client.noop()
        assert time.monotonic() - began >= 0.1
        proxy.switches = Switches(bytes_per_second=len(MESSAGE) * 10)
        began = time.monotonic()
        client.uid("FETCH", "1", "(BODY.PEEK[])")
        assert time.monotonic() - began >= 0.1

    def test_one_connection_alone(self, proxy: ChaosProxy, client: imaplib.IMAP4, login: Login) -> None:
        (number,) = proxy.connections()
        other = login()
        proxy.switch(number, Switches(hang=True))
        assert other.noop()[0] == "OK"
        client.socket().settimeout(0.2)
        client.send(b"x1 NOOP\r\n")
        assert _until_silent(client) == b""

    def test_disarmed_everything_is_as_ever(self, proxy: ChaosProxy, client: imaplib.IMAP4) -> None:
        proxy.arm(Fault(Kind.CUT_BEFORE, "NOOP"))
        proxy.switches = Switches(sizes=lambda size: 1)
        proxy.disarm()
        assert client.noop()[0] == "OK"
        assert b"RFC822.SIZE %d" % len(MESSAGE) in client.uid("FETCH", "1", "(RFC822.SIZE)")[1][0]
        client.send(b"x1 LOGOUT\r\n")
        wait_until(lambda: not proxy.connections())
