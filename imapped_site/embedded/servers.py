"""Both embedded servers of one data directory, started and stopped together."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import IO

from imapped_site.embedded.binaries import find_postgres, find_valkey
from imapped_site.embedded.errors import AlreadyRunning
from imapped_site.embedded.identity import choose_identity
from imapped_site.embedded.postgres import EmbeddedPostgres
from imapped_site.embedded.valkey import EmbeddedValkey
from imapped_site.generated_key import load_or_create_key


class EmbeddedServers:
    """PostgreSQL and Valkey of *data_dir*; a context manager. Only what is asked for is started.

    While they run, ``run/embedded.env`` in the data directory tells their URLs to every other imapped command.
    """

    def __init__(self, data_dir: Path, *, postgres: bool = True, valkey: bool = True, ephemeral: bool = False) -> None:
        self._data_dir = data_dir
        self._wanted = (postgres, valkey)
        self._ephemeral = ephemeral
        self._lock: IO[str] | None = None
        self._postgres: EmbeddedPostgres | None = None
        self._valkey: EmbeddedValkey | None = None

    @property
    def environment(self) -> dict[str, str]:
        """DATABASE_URL and REDIS_URL of what runs."""
        servers = {"DATABASE_URL": self._postgres, "REDIS_URL": self._valkey}
        return {name: server.url for name, server in servers.items() if server is not None}

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the servers that run, by name."""
        servers = {"postgres": self._postgres, "valkey": self._valkey}
        return {name: server.pid for name, server in servers.items() if server is not None and server.pid is not None}

    def start(self) -> None:
        """Start the servers. Raises EmbeddedError with the reason; nothing is left running then."""
        run_dir = self._data_dir / "run"
        if not self._data_dir.exists():
            self._data_dir.mkdir(parents=True)
            self._data_dir.chmod(0o711)  # whatever the umask: root's servers run as another user, who has to get in
        run_dir.mkdir(mode=0o700, exist_ok=True)
        self._take_lock(run_dir / "embedded.lock")
        try:
            self._start_servers()
        except BaseException:
            self.stop()
            raise
        self._announce(run_dir / "embedded.env")

    def restart_dead(self) -> list[str]:
        """Start again what has died; returns the names of these servers."""
        restarted: list[str] = []
        for name, server in (("postgres", self._postgres), ("valkey", self._valkey)):
            if server is not None and not server.alive():
                server.start()
                restarted.append(name)
        return restarted

    def stop(self) -> None:
        """Stop what runs, the truth last. Safe to call twice."""
        for server in (self._valkey, self._postgres):
            if server is not None:
                server.stop()
        self._valkey = self._postgres = None
        if self._lock is not None:
            (self._data_dir / "run" / "embedded.env").unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def __enter__(self) -> EmbeddedServers:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _start_servers(self) -> None:
        want_postgres, want_valkey = self._wanted
        programs, version = find_postgres() if want_postgres else (None, 0)
        program = find_valkey() if want_valkey else None
        executables = [path for path in (programs and programs / "postgres", program) if path is not None]
        if not executables:
            return  # both URLs are set: only the lock is held, so that one tree runs over this directory
        identity = choose_identity(executables, self._data_dir)
        password = load_or_create_key(self._data_dir / "embedded-password")
        if programs is not None:
            postgres = EmbeddedPostgres(
                self._data_dir / "postgres", programs=programs, version=version, identity=identity, password=password,
                ephemeral=self._ephemeral,
            )  # fmt: skip
            postgres.start()
            self._postgres = postgres
        if program is not None:
            valkey = EmbeddedValkey(
                self._data_dir / "valkey", program=program, identity=identity, password=password,
                ephemeral=self._ephemeral,
            )  # fmt: skip
            valkey.start()
            self._valkey = valkey

    def _take_lock(self, path: Path) -> None:
        """Hold the lock file for as long as this process lives: the kernel lets go of it whatever happens to us."""
        lock = path.open("a+", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise AlreadyRunning(f"process {holder} already runs the servers in {self._data_dir}") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _announce(self, path: Path) -> None:
        draft = path.with_name(path.name + ".new")
        draft.touch(mode=0o600)
        draft.write_text("".join(f"{name}={url}\n" for name, url in self.environment.items()), encoding="ascii")
        draft.replace(path)
