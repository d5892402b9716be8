"""All of imapped as real processes, with a database and a Valkey of its own, worked with as an operator does."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from imapped_site.embedded.process import free_port
from imapped_site.embedded.servers import EmbeddedServers
from imapped_site.foreground import children
from imapped_site.listeners import accepts
from imapped_site.settings.sources import BASE_DIR
from tests.e2e.processes import ManagedProcess, session_memory
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

HOST = "127.0.0.1"
PASSWORD = "downstream-secret-1"
EVERYTHING = ("imap", "worker", "slow", "beat", "watch")
_START_SECONDS = 60.0
_SYNC_SECONDS = 240.0
# What a process writes when it is ready; the frontend shows it by listening.
_READY = {"worker": "ready.", "slow": "ready.", "beat": "beat: Starting"}


class System:
    """imapped's processes over one data directory; a context manager that leaves nothing behind.

    The commands are those that ``manage.py run`` starts. ``own_postgres``: one that may be killed, instead of a
    database in the tests' own server, which gives up what was committed last.
    """

    running: ClassVar[list[System]] = []

    def __init__(
        self, *, ca_file: Path | None = None, settings: Mapping[str, str] | None = None, own_postgres: bool = False
    ) -> None:
        # Not below pytest's own directory: root's Valkey runs as another user, who may not enter it.
        self.directory = Path(tempfile.mkdtemp(prefix="imapped-e2e-"))
        self.directory.chmod(0o711)
        self.imap_port, self.tls_port = free_port(), free_port()
        self._database = f"e2e_{secrets.token_hex(6)}"
        self._processes: dict[str, ManagedProcess] = {}
        self._ended: list[ManagedProcess] = []
        self._own_postgres = own_postgres
        self.servers = EmbeddedServers(self.directory, postgres=own_postgres, valkey=True, ephemeral=not own_postgres)
        self._settings = {
            "DATABASE_URL": urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{self._database}")),
            "DATA_DIR": str(self.directory),
            "OBJECT_STORE_PATH": str(self.directory / "objects"),
            "IMAP_PLAINTEXT_BIND": f"{HOST}:{self.imap_port}",
            "IMAP_TLS_BIND": f"{HOST}:{self.tls_port}",
            "HTTP_BIND": "off",
            "IMAP_WORKERS": "2",
            "SYNC_CONCURRENCY": "2",
            "SYNC_SLOW_CONCURRENCY": "4",
            "PYTHONUNBUFFERED": "1",
            **({"UPSTREAM_CA_FILE": str(ca_file)} if ca_file else {}),
            **(settings or {}),
        }

    def __enter__(self) -> Self:
        System.running.append(self)
        try:
            self.servers.start()
            if not self._own_postgres:
                self._administer(sql.SQL("CREATE DATABASE {}"))
            self.manage("prepare")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def environment(self) -> dict[str, str]:
        """What every process of this system gets."""
        return {**os.environ, **self._settings, **self.servers.environment}

    def start(self, *names: str, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> None:
        """Start processes and return when they are ready; ``arguments`` and ``environment`` come on top."""
        commands = {child.name: child.command for child in children()}
        for name in names:
            assert name not in self._processes, f"{name} runs already"
            self._processes[name] = ManagedProcess(
                name,
                [*commands[name], *arguments],
                environment={**self.environment, **(environment or {})},
                log=self.directory / f"{name}.log",
            )
        for name in names:
            self._wait_ready(name)

    def stop(self, *names: str) -> None:
        """Stop processes politely; all of them if none is named."""
        for name in names or tuple(reversed(self._processes)):
            status = self._take(name).stop()
            assert status == 0, f"{name} ended with {status}:\n{self._ended[-1].tail()}"

    def kill(self, name: str) -> None:
        """SIGKILL one process and all that it has started."""
        self._take(name).kill()

    def process(self, name: str) -> ManagedProcess:
        """Return a running process."""
        return self._processes[name]

    def manage(self, *arguments: str, standard_input: str = "") -> str:
        """Run a command as an operator does; returns what it prints, fails the test if it fails."""
        run = subprocess.run(
            [sys.executable, BASE_DIR / "manage.py", *arguments], input=standard_input, env=self.environment,
            cwd=BASE_DIR, capture_output=True, text=True, timeout=_SYNC_SECONDS, check=False,
        )  # fmt: skip
        assert run.returncode == 0, f"{arguments}: {run.stdout}{run.stderr}"
        return run.stdout

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return the rows of one statement on the database, which may also change something."""
        with psycopg.connect(self.environment["DATABASE_URL"], autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def add_user(self, email: str) -> None:
        """Create somebody who may log in with ``PASSWORD``."""
        self.manage("create_user", "--username-email", email, standard_input=f"{PASSWORD}\n")

    def add_account(
        self,
        upstream_user: str,
        *,
        address: str = "",
        owner: str = "",
        host: str = HOST,
        port: int,
        tls_mode: str = "plain",
    ) -> str:
        """Add an account (of a new user unless ``owner`` is given) for a user of Dovecot; returns its address.

        Its first sync begins as soon as a worker is free.
        """
        address = address or f"{upstream_user}@example.test"
        if not owner:
            self.add_user(address)
        self.manage(
            "add_account", "--user-email", owner or address, "--email-address", address, "--display-name", "Mail",
            "--upstream-host", host, "--upstream-port", str(port), "--upstream-tls-mode", tls_mode,
            "--upstream-auth-method", "login", "--upstream-username", upstream_user,
            standard_input=f"{Dovecot.password}\n",
        )  # fmt: skip
        return address

    def sync(self, address: str, *, timeout: float = _SYNC_SECONDS) -> None:
        """Have an account synced as an operator does, and return when it is in step."""
        before = self.now()
        self.manage("force_sync", "--account-email", address)
        self.wait_in_step(address, since=before, timeout=timeout)

    def wait_in_step(self, address: str, *, since: Any = None, timeout: float = _SYNC_SECONDS) -> None:
        """Return when a sync of the account has ended well after ``since``, if given."""
        wait_until(lambda: self.is_in_step(address, since=since), timeout)

    def now(self) -> Any:
        """Return the database's time."""
        return self.query("SELECT clock_timestamp()")[0][0]

    def is_in_step(self, address: str, *, since: Any = None) -> bool:
        """Tell whether a sync of the account has ended well after ``since``; fails when a process has died."""
        self.assert_alive()
        statement = """
            SELECT state = 'active' AND last_synced_at > coalesce(%s, '-infinity'::timestamptz)
            FROM mailcache_account WHERE address = %s
        """
        return self.query(statement, since, address) == [(True,)]

    def status(self, address: str) -> dict[str, Any]:
        """Return what ``show_sync_status`` says of an account."""
        statuses = json.loads(self.manage("show_sync_status", "--account-email", address, "--json"))
        assert len(statuses) == 1
        found: dict[str, Any] = statuses[0]
        return found

    def assert_alive(self) -> None:
        """Fail the test when a process has ended by itself."""
        for process in self._processes.values():
            assert process.alive(), f"{process.name} has ended:\n{process.tail()}"

    def memory(self) -> dict[str, int]:
        """Return the proportional set size of each running process with its children, in octets."""
        return {name: session_memory(process.pid) for name, process in self._processes.items()}

    def logs(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each process, also of those that have ended, and the end of its output."""
        for process in (*self._ended[-3:], *self._processes.values()):
            yield f"{process.name} ({process.pid})", process.tail()

    def close(self) -> None:
        """Kill what runs, drop the database, remove the directory."""
        for name in list(self._processes):
            self.kill(name)
        self.servers.stop()
        if not self._own_postgres:
            self._administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)"))
        shutil.rmtree(self.directory, ignore_errors=True)
        with contextlib.suppress(ValueError):
            System.running.remove(self)

    def _take(self, name: str) -> ManagedProcess:
        process = self._processes.pop(name)
        self._ended.append(process)
        return process

    def _wait_ready(self, name: str) -> None:
        process = self._processes[name]
        if name == "imap":
            wait_until(lambda: process.says("") and self._serves(process), _START_SECONDS)
        elif name in _READY:
            wait_until(lambda: process.says(_READY[name]), _START_SECONDS)

    def _serves(self, process: ManagedProcess) -> bool:
        assert process.alive(), process.tail()
        return accepts((HOST, self.imap_port)) and accepts((HOST, self.tls_port))

    def _administer(self, statement: sql.SQL) -> None:
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(statement.format(sql.Identifier(self._database)))
