"""How long a first sync takes beside mbsync, and where the time goes: ``python -m tests.bench.first_sync [messages]``.

From a Dovecot on loopback; all at the end durable on both sides: mbsync writes a Maildir (with its default of one fsync
for each message), imapped's worker writes segments and parses every message into a PostgreSQL with fsync on. They take
turns in one run, on the same mail. ``BENCH_MESSAGES`` and ``BENCH_ROUNDS`` may say how much.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from imapped_site.embedded.servers import EmbeddedServers
from tests.bench.tools import timed_calls
from tests.bench.tools.environment import environment
from tests.bench.tools.process_tree import cpu_seconds
from tests.corpus.everyday import everyday_message
from tests.e2e.processes import peak_memory
from tests.servers.dovecot import Dovecot, running_dovecot
from tests.servers.required import required_program

if TYPE_CHECKING:
    from tests.e2e.system import System

_USER = "bench"
_PATIENCE = 3600.0
_INCLUDE = ("--include", "tests.bench.tools.timed_calls")
_MBSYNC = """
IMAPAccount upstream
Host {host}
Port {port}
User {user}
Pass {password}
SSLType None
AuthMechs LOGIN

IMAPStore upstream
Account upstream

MaildirStore local
Path {directory}/
Inbox {directory}/INBOX
SubFolders Verbatim

Channel all
Far :upstream:
Near :local:
Patterns *
Sync Pull
Create Near
CopyArrivalDate yes
SyncState *
"""
_RUN = """
    SELECT EXTRACT(EPOCH FROM account.last_synced_at - account.created_at)::float8, run.bodies_added, run.commands,
           run.slices, run.headers_added
    FROM mailcache_account AS account JOIN sync_syncrun AS run ON run.account_id = account.id
    WHERE account.address = %s ORDER BY run.id LIMIT 1
"""


def main(messages: int, rounds: int) -> None:
    """Measure ``rounds`` first syncs of each, in turns."""
    with environment() as (directory, servers):
        from tests.e2e.system import System

        (directory / "dovecot").mkdir()
        with running_dovecot(directory / "dovecot") as dovecot, System() as system:
            octets = dovecot.fill_inbox(_USER, (everyday_message(number) for number in range(messages)))
            print(f"{messages} messages, {octets / 1e6:.0f} MB, {octets / messages / 1000:.1f} KB on average")
            bench = _Bench(directory, dovecot, servers, system, messages, octets)
            for number in range(rounds):
                # In turns, and not always in the same order: each leaves the other a warm cache.
                for measure in (bench.mbsync, bench.imapped)[:: -1 if number % 2 else 1]:
                    os.sync()
                    measure(number + 1)


class _Bench:
    """One mailbox in a Dovecot, copied again and again."""

    def __init__(
        self,
        directory: Path,
        dovecot: Dovecot,
        servers: EmbeddedServers,
        system: System,
        messages: int,
        octets: int,
    ) -> None:
        self._directory = directory
        self._dovecot = dovecot
        self._servers = servers
        self._system = system
        self._messages = messages
        self._octets = octets

    def mbsync(self, number: int) -> None:
        """Have mbsync copy everything into a new Maildir."""
        program = required_program("mbsync", "isync")
        copy = self._directory / f"mbsync-{number}"
        copy.mkdir()
        configuration = copy.with_suffix(".rc")
        configuration.write_text(
            _MBSYNC.format(
                host=self._dovecot.host,
                port=self._dovecot.plain_port,
                user=_USER,
                password=self._dovecot.password,
                directory=copy,
            )
        )
        before, dovecot, began = _children_cpu(), cpu_seconds(self._dovecot.pid), time.perf_counter()
        subprocess.run([program, "-q", "-c", configuration, "all"], check=True)
        seconds = time.perf_counter() - began
        found = sum(1 for _ in (copy / "INBOX").glob("[cn]*/*"))
        assert found == self._messages, found
        self._say("mbsync", seconds)
        _say_cpu({"mbsync": _children_cpu() - before, "Dovecot": cpu_seconds(self._dovecot.pid) - dovecot})
        shutil.rmtree(copy)

    def imapped(self, number: int) -> None:
        """Have a worker mirror everything into a new account, from its creation to its first time in step."""
        system, spent = self._system, self._directory / f"spent-{number}"
        spent.mkdir()
        system.start("worker", "slow", arguments=_INCLUDE, environment={timed_calls.DIRECTORY_VARIABLE: str(spent)})
        pids = {
            "worker": system.process("worker").pid,
            "PostgreSQL": self._servers.pids["postgres"],
            "Valkey": system.servers.pids["valkey"],
            "Dovecot": self._dovecot.pid,
        }
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        address = system.add_account(_USER, address=f"bench-{number}@example.test", port=self._dovecot.plain_port)
        system.wait_in_step(address, timeout=_PATIENCE)
        used = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
        ((seconds, bodies, commands, slices, headers),) = system.query(_RUN, address)
        assert bodies == self._messages, bodies
        self._say("imapped", seconds)
        _say_cpu(used)
        peak = peak_memory(pids["worker"])
        print(f"  {commands} commands in {slices} slices, {headers} headers ahead; peak of a worker {peak >> 20} MB")
        system.stop("worker", "slow")
        timed_calls.print_spent(spent)

    def _say(self, name: str, seconds: float) -> None:
        rate = self._octets / seconds / 1e6
        print(f"{name}: {seconds:.1f} s, {self._messages / seconds:.0f} messages/s, {rate:.1f} MB/s")


def _say_cpu(used: dict[str, float]) -> None:
    print("  processor: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in used.items()))


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main(
        int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("BENCH_MESSAGES", "20000")),
        int(os.environ.get("BENCH_ROUNDS", "2")),
    )
