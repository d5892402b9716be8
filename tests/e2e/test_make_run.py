"""``make run`` in a copy of the checkout that has nothing but the files of the repository."""

from __future__ import annotations

import contextlib
import imaplib
import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imapped_site.embedded.process import free_port
from imapped_site.settings.sources import BASE_DIR
from tests.servers.required import required_program
from tests.waiting import wait_until

_NOT_COPIED = (".git", ".venv", "data", "__pycache__", ".*_cache", ".hypothesis", ".env")
_INSTALL_SECONDS = 600
_START_SECONDS = 120
# What a newcomer's environment does not have.
_FOREIGN = re.compile(
    r"APP_|BOOTSTRAP_|CELERY_|DATA|DJANGO_|ENCRYPTION_|HTTP_BIND|IMAP|MAKE|METRICS|MFLAGS|OBJECT|PYTEST|PYTHON|R2_|"
    r"REDIS_|SECRET|SYNC_|UPSTREAM_|VIRTUAL_ENV"
)


class Run:
    """One ``make run``, as if typed at a terminal."""

    def __init__(self, checkout: Path, environment: dict[str, str]) -> None:
        make = required_program("make", "make")
        self._log = Path(tempfile.mkstemp(prefix="run-", suffix=".log", dir=checkout.parent)[1])
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [make, "run"], cwd=checkout, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_ready(self, seconds: float) -> None:
        wait_until(lambda: "run    | ready: " in self.output or self.process.poll() is not None, seconds)
        assert self.process.poll() is None, self.output

    def interrupt(self) -> None:
        """Ctrl-C: the terminal sends SIGINT to everything in the foreground."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(60)

    def kill_tree(self) -> None:
        """``kill -9`` of make and of what it runs; the rest is a matter of the kernel and of the servers."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)


class Checkout:
    """A copy of the repository's files, and the ports of what runs there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        _copy_repository(directory)
        self.imap_port, self.tls_port = free_port(), free_port()
        newcomer = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
        self.environment = newcomer | {
            "HTTP_BIND": f"127.0.0.1:{free_port()}",
            "IMAP_PLAINTEXT_BIND": f"127.0.0.1:{self.imap_port}",
            "IMAP_TLS_BIND": f"127.0.0.1:{self.tls_port}",
            "SYNC_CONCURRENCY": "1",
        }
        self.runs: list[Run] = []

    def run(self) -> Run:
        """Type ``make run``."""
        self.runs.append(Run(self.directory, self.environment))
        return self.runs[-1]

    def log_in(self, password: str) -> None:
        """Log in as the first administrator, in plaintext and over TLS with the certificate that was made."""
        context = ssl.create_default_context(cafile=str(self.directory / "data" / "tls" / "imap.crt"))
        for client in (
            imaplib.IMAP4("127.0.0.1", self.imap_port, timeout=30),
            imaplib.IMAP4_SSL("localhost", self.tls_port, ssl_context=context, timeout=30),
        ):
            assert client.login("admin@localhost", password)[0] == "OK"
            assert client.noop()[0] == "OK"
            assert client.logout()[0] == "BYE"

    def processes(self) -> list[str]:
        """Return the command lines of living processes that run from this directory, or in it."""
        found: list[str] = []
        needle = str(self.directory).encode()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # ended meanwhile
                command = (process / "cmdline").read_bytes()
                place = bytes((process / "cwd").readlink()) + bytes((process / "exe").readlink())
                if command and needle in command + place:
                    found.append(command.replace(b"\0", b" ").decode(errors="replace"))
        return found


def _copy_repository(target: Path) -> None:
    """Copy what is in the repository, or would be after ``git add``."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=BASE_DIR, capture_output=True, check=False,
    )  # fmt: skip
    if listing.returncode != 0:  # a checkout without its repository
        shutil.copytree(BASE_DIR, target, ignore=shutil.ignore_patterns(*_NOT_COPIED), dirs_exist_ok=True)
        return
    for name in filter(None, listing.stdout.split(b"\0")):
        source = BASE_DIR / os.fsdecode(name)
        if source.is_file():
            (target / os.fsdecode(name)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / os.fsdecode(name))


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    # Not below pytest's own directory: root's servers run as another user, who may not enter it.
    with tempfile.TemporaryDirectory(prefix="imapped-checkout-") as parent:
        Path(parent).chmod(0o755)
        directory = Path(parent) / "imapped"
        directory.mkdir()
        checkout = Checkout(directory)
        yield checkout
        for run in checkout.runs:
            if run.process.poll() is None:
                run.kill_tree()
        wait_until(lambda: checkout.processes() == [], 60)


@pytest.mark.timeout(1200)
def test_start_log_in_stop_start_again_and_kill(checkout: Checkout) -> None:
    first = checkout.run()
    first.wait_ready(_INSTALL_SECONDS)
    shown = re.search(r"administrator +admin@localhost\n.*with the password +(\S+)", first.output)
    assert shown is not None, first.output
    password = shown[1]
    checkout.log_in(password)
    first.interrupt()
    assert "run    | stopped" in first.output
    assert checkout.processes() == []

    second = checkout.run()
    second.wait_ready(_START_SECONDS)
    assert "Created the administrator" not in second.output
    checkout.log_in(password)
    second.kill_tree()
    wait_until(lambda: checkout.processes() == [], 60)

    third = checkout.run()
    third.wait_ready(_START_SECONDS)
    checkout.log_in(password)
    third.interrupt()
    assert checkout.processes() == []
