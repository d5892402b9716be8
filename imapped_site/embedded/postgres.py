"""The embedded PostgreSQL: initdb once, start, wait until it answers, stop."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from imapped_site.embedded.errors import EmbeddedError
from imapped_site.embedded.identity import Identity
from imapped_site.embedded.process import ServerProcess, clean_environment, end_leftover, free_port, wait_for

USER = DATABASE = "imapped"
_START_SECONDS = 300.0  # crash recovery of a large database takes its time
_FAST_STOP = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))
_BUILTIN_LOCALE_SINCE = 17
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "shared_buffers": "128MB",
}
_EPHEMERAL_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB"}


class EmbeddedPostgres:
    """A PostgreSQL server with its data in *directory*, on a loopback port of its own choice.

    *ephemeral* gives up durability for speed: for tests only.
    """

    def __init__(
        self,
        directory: Path,
        *,
        programs: Path,
        version: int,
        identity: Identity,
        password: str,
        ephemeral: bool = False,
    ) -> None:
        self._directory = directory
        self._programs = programs
        self._version = version
        self._identity = identity
        self._password = password
        self._ephemeral = ephemeral
        self._port = 0
        self._process = ServerProcess(
            "PostgreSQL", identity=identity, log=directory.with_name("postgres.log"), directory=directory
        )

    @property
    def url(self) -> str:
        """What DATABASE_URL has to be."""
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self._port}/{DATABASE}"

    @property
    def pid(self) -> int | None:
        """Process id of the server."""
        return self._process.pid

    def alive(self) -> bool:
        """True while the server process runs."""
        return self._process.alive()

    def start(self) -> None:
        """Start the server and return when it answers; the port stays the same when it is started again."""
        if self._directory.exists():
            self._check_version()
            self._end_leftover()
            self._identity.take_over(self._directory)
        else:
            self._initialise()
        self._port = self._port or free_port()
        settings = _SETTINGS | (_EPHEMERAL_SETTINGS if self._ephemeral else {}) | {"port": str(self._port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        # Should this process die, SIGINT makes the server end its sessions and shut down cleanly.
        self._process.start([self._programs / "postgres", "-D", self._directory, *options], death_signal=signal.SIGINT)
        if not wait_for(lambda: not self.alive() or self._answers(), seconds=_START_SECONDS) or not self.alive():
            self.stop()
            raise self._process.failure("did not start")
        self._create_database()

    def stop(self) -> None:
        """Stop the server, cleanly unless it is ephemeral or hangs."""
        self._process.stop(((signal.SIGQUIT, 10.0),) if self._ephemeral else _FAST_STOP)

    def _check_version(self) -> None:
        kept = (self._directory / "PG_VERSION").read_text(encoding="ascii").strip()
        if kept != str(self._version):
            raise EmbeddedError(
                f"{self._directory} was made by PostgreSQL {kept}, but {self._programs} is version {self._version}: "
                "install the old version, or dump and restore (pg_dumpall)."
            )

    def _end_leftover(self) -> None:
        try:
            pid = int((self._directory / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return
        end_leftover(pid, program="postgres", directory=self._directory, steps=_FAST_STOP)

    def _initialise(self) -> None:
        """Run initdb beside the final place, so that a start that is cut off leaves nothing half made."""
        draft = self._directory.with_name(self._directory.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        password_file = draft.with_name(draft.name + ".password")
        password_file.write_text(self._password, encoding="ascii")
        password_file.chmod(0o600)
        for path in (draft, password_file):
            self._identity.take_over(path)
        command: list[str | Path] = [
            self._programs / "initdb", "--pgdata", draft, "--username", USER, "--pwfile", password_file,
            "--auth", "scram-sha-256", "--encoding", "UTF8", *self._locale_options(),
            *(["--no-sync"] if self._ephemeral else []),
        ]  # fmt: skip
        try:
            subprocess.run(
                command, cwd=draft, env=clean_environment(), stdin=subprocess.DEVNULL, check=True, capture_output=True,
                text=True, timeout=_START_SECONDS, **self._identity.popen_options(death_signal=signal.SIGKILL),
            )  # fmt: skip
        except subprocess.CalledProcessError as error:
            raise EmbeddedError(f"initdb failed: {error.stderr.strip() or error.stdout.strip()}") from error
        finally:
            password_file.unlink()
        draft.rename(self._directory)

    def _locale_options(self) -> list[str]:
        """UTF-8 character classes with byte-order collation: plain C makes no trigrams of letters beyond ASCII."""
        if self._version < _BUILTIN_LOCALE_SINCE:
            return ["--locale=C.UTF-8"]
        return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--lc-ctype=C.UTF-8"]

    def _connect(self) -> psycopg.Connection[tuple[int]]:
        return psycopg.connect(
            host="127.0.0.1", port=self._port, user=USER, password=self._password, dbname="postgres",
            autocommit=True, connect_timeout=5,
        )  # fmt: skip

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _create_database(self) -> None:
        with self._connect() as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if known is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
