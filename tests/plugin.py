"""pytest plugin: an environment of their own for the tests, with PostgreSQL and Valkey started for the session.

Loaded with ``-p tests.plugin`` (pyproject.toml), so that it acts before Django reads its settings. DATABASE_URL and
REDIS_URL, where set, name the servers to use instead. Workers of xdist inherit the servers of the controller and get a
data directory and a Redis database number of their own.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from imapped_site.embedded.errors import EmbeddedError
from imapped_site.embedded.servers import EmbeddedServers

_REDIS_DATABASES = 16


class SessionServers:
    """The servers and the directory of one pytest session."""

    def __init__(self) -> None:
        self._directory: Path | None = None
        self._servers: EmbeddedServers | None = None

    def start(self) -> None:
        """Make the directory, start what the environment does not name, and export all of it."""
        self._directory = Path(tempfile.mkdtemp(prefix="imapped-tests-"))
        self._directory.chmod(0o711)  # root's servers run as another user, who has to get through
        os.environ |= {
            "APP_ENV": "test",
            "DATA_DIR": str(self._directory),
            "ENCRYPTION_MASTER_KEY": secrets.token_urlsafe(32),
        }
        postgres, valkey = "DATABASE_URL" not in os.environ, "REDIS_URL" not in os.environ
        if postgres or valkey:
            self._servers = EmbeddedServers(self._directory, postgres=postgres, valkey=valkey, ephemeral=True)
            self._servers.start()
            os.environ |= self._servers.environment

    def stop(self) -> None:
        """Stop the servers and remove the directory."""
        if self._servers is not None:
            self._servers.stop()
            self._servers = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None


_session = SessionServers()


def _separate_worker(worker: str) -> None:
    """Give an xdist worker what its neighbours must not share with it: files, and keys in Redis."""
    number = int(re.sub(r"\D", "", worker) or 0)
    directory = Path(os.environ["DATA_DIR"]) / worker
    directory.mkdir(exist_ok=True)
    os.environ["DATA_DIR"] = str(directory)
    base = re.sub(r"/\d*$", "", os.environ["REDIS_URL"])
    os.environ["REDIS_URL"] = f"{base}/{1 + number % (_REDIS_DATABASES - 1)}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests() -> Generator[None]:
    """Start before pytest-django loads the settings."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker:
        _separate_worker(worker)
    else:
        try:
            _session.start()
        except EmbeddedError as error:
            _session.stop()
            raise pytest.UsageError(f"the tests need PostgreSQL and Valkey: {error}") from error
    try:
        yield
    except BaseException:
        _session.stop()
        raise


def pytest_unconfigure() -> None:
    """Stop what was started; nothing is left behind."""
    _session.stop()
