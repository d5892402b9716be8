"""Accounts that are written to while something is killed, each with the same mail, over servers that live on."""

from __future__ import annotations

import imaplib
import itertools
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from imapped_site.listeners import accepts
from tests.e2e.mirror import imaplib_login
from tests.e2e.nursery import Child, Nursery
from tests.e2e.processes import children_of
from tests.e2e.system import HOST, PASSWORD, System
from tests.e2e.write_scenarios import LACKING, Act, fill
from tests.e2e.write_upstreams import DovecotMail, GmailMail, Seen, UpstreamMail, look
from tests.fakes.crash_points import CrashControl
from tests.fakes.deadly_proxy import DeadlyProxy
from tests.fakes.gmail import FakeGmail
from tests.servers.dovecot import Dovecot, free_port, new_user
from tests.waiting import wait_until

# There is little to fetch: a second connection would cost more than it brings.
_SETTINGS = {"UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT": "1"}
FULL, LACKS, GMAIL = "full", "without UIDPLUS, MOVE, MULTIAPPEND", "Gmail"
MODES = {FULL: frozenset[str](), LACKS: LACKING}


@dataclass(frozen=True, slots=True)
class End:
    """How an account ends."""

    upstream: Seen
    mirror: Seen
    uids: dict[str, list[int]]
    unsettled: list[list[str]]

    def check(self, undisturbed: End) -> None:
        """Fail unless this is how it ends when nothing is killed."""
        assert self.unsettled == [], f"not settled: {self.unsettled}"
        upstream, mirror = self.upstream.unlike(undisturbed.upstream), self.mirror.unlike(self.upstream)
        assert not upstream, f"upstream unlike the undisturbed one: {upstream}"
        assert not mirror, f"mirror unlike its upstream: {mirror}"
        assert self.uids == undisturbed.uids, f"UIDs {self.uids} instead of {undisturbed.uids}"


class Writer:
    """A client that sends commands as they are, and notes whether they were answered with OK."""

    def __init__(self, port: int, user: str) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=60)
        self._file = self._socket.makefile("rb")
        self._open = ""
        self._file.readline()
        self._user = user
        self._is_in = False

    def perform(self, act: Act) -> bool:
        """Do it in its mailbox; False unless the answer is OK."""
        try:
            self._is_in = self._is_in or self._run(b'LOGIN "%b" "%b"\r\n' % (self._user.encode(), PASSWORD.encode()))
            if act.mailbox and act.mailbox != self._open:
                self._open = act.mailbox if self._run(b"SELECT %b\r\n" % act.mailbox.encode()) else ""
            return self._is_in and (not act.mailbox or bool(self._open)) and self._run(*act.pieces)
        except OSError:
            return False

    def close(self) -> None:
        """End it without a word."""
        self._file.close()
        self._socket.close()

    def _run(self, *pieces: bytes) -> bool:
        self._socket.sendall(b"t ")
        for piece in pieces:
            self._socket.sendall(piece)
            line = b"* "
            while line.startswith(b"* "):
                line = self._file.readline()
            if not line.startswith(b"+"):
                return line.startswith(b"t OK ") and line.endswith(b"\r\n")
        return False


class Lane:
    """What one account at a time uses: a way to the upstream for each mode, and one to a frontend of its own."""

    def __init__(self, dovecot: Dovecot) -> None:
        self.upstream = {
            mode: DeadlyProxy(dovecot.host, dovecot.plain_port, hidden=hidden) for mode, hidden in MODES.items()
        }
        self.gmail = FakeGmail()
        self.gmail.start()
        self.upstream[GMAIL] = DeadlyProxy(HOST, self.gmail.port)
        self.frontend_port = free_port()
        self.frontend = DeadlyProxy(HOST, self.frontend_port)

    def close(self) -> None:
        """End the proxies, and Gmail."""
        for proxy in (*self.upstream.values(), self.frontend):
            proxy.close()
        self.gmail.close()


@dataclass(slots=True)
class Bench:
    """The servers, and what forks processes."""

    system: System
    nursery: Nursery
    dovecot: Dovecot
    port: int
    """Of a frontend that is killed by nobody."""
    template: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def control(self) -> CrashControl:
        """Return a new way to record or arm commits."""
        return CrashControl(self.system.directory / f"crash-{next(self._numbers)}")

    @property
    def postmaster(self) -> int:
        """Process id of PostgreSQL."""
        return self.system.servers.pids["postgres"]

    def kill_postgres(self) -> None:
        """SIGKILL the server and all its processes."""
        postmaster = self.postmaster
        os.kill(postmaster, signal.SIGSTOP)  # it starts none meanwhile
        for pid in (*children_of(postmaster), postmaster):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: "postgres" not in self.system.servers.pids)

    def restart_postgres(self) -> None:
        """Start it again."""
        assert self.system.servers.restart_dead() == ["postgres"]

    def serves(self, address: str) -> bool:
        """Tell whether a client gets in again; its frontend may hold connections to a PostgreSQL that is gone."""
        try:
            with imaplib_login(self.port, address, PASSWORD) as client:
                return client.select("INBOX", readonly=True)[0] == "OK"
        except (OSError, imaplib.IMAP4.error):
            return False

    def begin_frontend(self, lane: Lane, directory: Path, *, postmaster: int = 0) -> Child:
        """Start a frontend of a lane's own, whose commits are watched."""
        child = self.nursery.begin("serve", port=lane.frontend_port, crash=str(directory), postmaster=postmaster)
        wait_until(lambda: accepts((HOST, lane.frontend_port)))
        return child


class Victim:
    """One account, whose upstream has the mail of the template."""

    def __init__(self, bench: Bench, lane: Lane, mode: str) -> None:
        self._bench = bench
        self.proxy = lane.upstream[mode]
        self._mail: UpstreamMail = (
            GmailMail(lane.gmail) if mode == GMAIL else DovecotMail(bench.dovecot, bench.template)
        )
        self.address = f"{new_user()}@example.test"
        self._id: int = bench.nursery.call(
            "add_account",
            address=self.address,
            password=PASSWORD,
            upstream_user=self._mail.user,
            upstream_password=self._mail.password,
            port=self.proxy.port,
            profile=self._mail.profile,
        )
        self._mail.mark()

    def accept(self, acts: Sequence[Act], *, port: int = 0, after_each: Callable[[], None] = lambda: None) -> int:
        """Have a client do something; returns how many commands were answered with OK."""
        done = 0
        with suppress(OSError):  # refused: nobody is there any more
            writer = Writer(port or self._bench.port, self.address)
            for act in acts:
                if not writer.perform(act):
                    break
                done += 1
                after_each()
            writer.close()
        return done

    def begin_replay(self, *, directory: Path | None = None, postmaster: int = 0) -> Child:
        """Start a worker that replays what waits."""
        return self._bench.nursery.begin(
            "replay", account_id=self._id, crash=str(directory or ""), postmaster=postmaster
        )

    def seen(self) -> Seen:
        """Return what a client of ours sees."""
        with imaplib_login(self._bench.port, self.address, PASSWORD) as client:
            return look(client, subscriptions=self._mail.has_subscriptions)

    def finish(self) -> End:
        """Let another worker bring everything to its end, and the upstream's other client take its marks back."""
        self._mail.take_marks_back()
        left = self._bench.nursery.call("finish", account_id=self._id)
        return End(self._mail.seen(), self.seen(), left["uids"], left["unsettled"])


@contextmanager
def open_bench(dovecot: Dovecot) -> Iterator[Bench]:
    """Start everything."""
    template = new_user()
    with dovecot.login(template) as client:
        fill(client)
    with ExitStack() as stack:
        system = stack.enter_context(System(own_postgres=True, settings=_SETTINGS))
        # A process that is killed loses nothing of what it has given to the kernel.
        system.query("ALTER SYSTEM SET fsync = off")
        system.query("SELECT pg_reload_conf()")
        nursery = stack.enter_context(Nursery(system.environment, system.directory))
        bench = Bench(system, nursery, dovecot, free_port(), template)
        nursery.begin("serve", port=bench.port)
        wait_until(lambda: accepts((HOST, bench.port)))
        yield bench
