"""How long 1,000 local APPENDs take to get upstream, beside a client that sends them there itself.

``python -m tests.bench.replay [messages]``. The same messages, each time into an empty INBOX of the same Dovecot on
loopback: by ``imaplib`` one by one; by MULTIAPPEND, for comparison; and by replay, whose queue was filled through
imapped's own frontend while it was paused. ``BENCH_ROUNDS`` may say how often.
"""

from __future__ import annotations

import imaplib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.tools import timed_calls
from tests.bench.tools.environment import environment
from tests.corpus.everyday import everyday_message
from tests.servers.dovecot import Dovecot, running_dovecot
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.e2e.system import System

_DATE = '"17-May-2024 08:30:00 +0000"'
_TOGETHER = 100
_PATIENCE = 600.0
_INCLUDE = ("--include", "tests.bench.tools.timed_calls")
_UNSETTLED = "SELECT count(*) FROM mailcache_mutation WHERE state <> 'settled'"
_ATTEMPTED = "SELECT coalesce(sum(attempts), 0) FROM mailcache_mutation"
_PAUSE = "UPDATE mailcache_account SET replay_paused = %s WHERE address = %s"


def main(messages: int, rounds: int) -> None:
    """Measure ``rounds`` of each, in turns."""
    with environment() as (directory, _):
        from tests.e2e.system import System

        (directory / "dovecot").mkdir()
        with running_dovecot(directory / "dovecot", bare=True) as dovecot, System() as system:
            bench = _Bench(directory, dovecot, system, [everyday_message(number) for number in range(messages)])
            for number in range(rounds):
                for measure in (bench.one_by_one, bench.multiappend, bench.replay)[:: -1 if number % 2 else 1]:
                    os.sync()
                    measure(number + 1)


class _Bench:
    """Messages, and the server that they go to."""

    def __init__(self, directory: Path, dovecot: Dovecot, system: System, messages: Sequence[bytes]) -> None:
        self._directory = directory
        self._dovecot = dovecot
        self._system = system
        self._messages = messages
        self._octets = sum(map(len, messages))
        print(f"{len(messages)} messages, {self._octets / 1e6:.0f} MB, load {os.getloadavg()[0]:.1f}")

    def one_by_one(self, number: int) -> None:
        """Append with imaplib."""
        with self._dovecot.login(user := f"direct-{number}") as client:
            self._say("direct, one by one", self._timed(lambda: _append_all(client, self._messages)))
        self._check(user)

    def multiappend(self, number: int) -> None:
        """Append many messages with each command (RFC 3502)."""
        with self._dovecot.login(user := f"multi-{number}") as client:
            self._say("direct, MULTIAPPEND", self._timed(lambda: _append_together(client, self._messages)))
        self._check(user)

    def replay(self, number: int) -> None:
        """Append to imapped, then let it replay."""
        from tests.e2e.system import EVERYTHING, PASSWORD

        system, spent, user = self._system, self._directory / f"spent-{number}", f"replay-{number}"
        spent.mkdir()
        system.start("worker", arguments=_INCLUDE, environment={timed_calls.DIRECTORY_VARIABLE: str(spent)})
        system.start(*(name for name in EVERYTHING if name != "worker"))
        address = system.add_account(user, port=self._dovecot.plain_port)
        system.wait_in_step(address)
        system.query(_PAUSE, True, address)
        client = imaplib.IMAP4("127.0.0.1", system.imap_port)
        client.login(address, PASSWORD)
        self._say("accepted by imapped", self._timed(lambda: _append_all(client, self._messages)))
        client.logout()
        assert system.query(_UNSETTLED) == [(len(self._messages),)]
        system.query(_PAUSE, False, address)
        wait_until(lambda: system.query(_UNSETTLED) == [(0,)], _PATIENCE)
        assert system.query(_ATTEMPTED) == [(0,)]
        system.stop()
        self._say("replayed by imapped", timed_calls.read_spent(spent)[timed_calls.REPLAY].wall)
        timed_calls.print_spent(spent)
        self._check(user)
        system.query("UPDATE mailcache_account SET sync_paused = true")

    def _timed(self, work: Callable[[], None]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    def _say(self, name: str, seconds: float) -> None:
        rate, speed = len(self._messages) / seconds, self._octets / seconds / 1e6
        print(f"{name}: {seconds:.1f} s, {rate:.0f} messages/s, {speed:.1f} MB/s")

    def _check(self, user: str) -> None:
        with self._dovecot.login(user) as client:
            _, (count,) = client.select("INBOX", readonly=True)
        assert int(count or 0) == len(self._messages), count


def _append_all(client: imaplib.IMAP4, messages: Sequence[bytes]) -> None:
    for message in messages:
        status, told = client.append("INBOX", "()", _DATE, message)
        assert status == "OK", told


def _append_together(client: imaplib.IMAP4, messages: Sequence[bytes]) -> None:
    for first in range(0, len(messages), _TOGETHER):
        client.send(b"X%d APPEND INBOX" % first)
        for message in messages[first : first + _TOGETHER]:
            client.send(b" () %b {%d+}\r\n" % (_DATE.encode(), len(message)))
            client.send(message)
        client.send(b"\r\n")
        while not (line := client.readline()).startswith(b"X%d " % first):
            assert line.startswith(b"* "), line
        assert b" OK " in line, line


if __name__ == "__main__":
    main(int(sys.argv[1] if len(sys.argv) > 1 else 1000), int(os.environ.get("BENCH_ROUNDS", "2")))
