"""Fixtures of real servers; loaded by tests/conftest.py."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.cyrus import Cyrus, running_cyrus
from tests.servers.dovecot import Dovecot, new_user, running_dovecot


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    """One Dovecot for the whole session; take a new user for each test."""
    # Not below pytest's own directory: Dovecot's processes run as users that may not enter it.
    with running_dovecot(Path(tempfile.mkdtemp(prefix="imapped-dovecot-"))) as server:
        yield server


@pytest.fixture(scope="session")
def cyrus() -> Iterator[Cyrus]:
    """One Cyrus for the whole session; take a new user for each test."""
    with running_cyrus(Path(tempfile.mkdtemp(prefix="imapped-cyrus-"))) as server:
        yield server


@pytest.fixture(scope="session")
def bare_dovecot() -> Iterator[Dovecot]:
    """Another Dovecot, whose users have nothing but INBOX: quick to sync."""
    with running_dovecot(Path(tempfile.mkdtemp(prefix="imapped-dovecot-")), bare=True) as server:
        yield server


@pytest.fixture(scope="session")
def bare_cyrus() -> Iterator[Cyrus]:
    """Another Cyrus, whose users have nothing but INBOX: quick to sync."""
    with running_cyrus(Path(tempfile.mkdtemp(prefix="imapped-cyrus-")), bare=True) as server:
        yield server


@pytest.fixture
def upstream_user() -> str:
    """A user name that no other test uses."""
    return new_user()
