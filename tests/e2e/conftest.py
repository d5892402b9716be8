"""What the end-to-end tests share: the corpus in a Dovecot, mirrored once, and the logs of what failed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.corpus import load_corpus, make_corpus
from tests.e2e.mirrored import MirroredAccount
from tests.e2e.system import EVERYTHING, System
from tests.servers.dovecot import Dovecot, new_user, running_dovecot


@pytest.fixture(scope="session")
def mirrored(dovecot: Dovecot) -> Iterator[MirroredAccount]:
    """The corpus of 2,000 messages, synced over TLS. Tests read it, and change nothing."""
    user = new_user()
    corpus = make_corpus()
    with dovecot.login(user) as client:
        load_corpus(client, corpus)
    with System(ca_file=dovecot.ca_file) as system:
        system.start(*EVERYTHING)
        system.add_user(address := f"{user}@example.test")
        began = time.monotonic()
        system.add_account(user, owner=address, port=dovecot.tls_port, tls_mode="tls")
        system.wait_in_step(address)
        seconds = time.monotonic() - began
        count = sum(len(mailbox.messages) for mailbox in corpus)
        yield MirroredAccount(dovecot, user, system, address, count, seconds)


@pytest.fixture
def own_dovecot() -> Iterator[Dovecot]:
    """A Dovecot that this test may stop and start."""
    with running_dovecot(Path(tempfile.mkdtemp(prefix="imapped-dovecot-"))) as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of the logs of every system that runs when a test fails."""
    report = yield
    if report.failed:
        for system in System.running:
            report.sections.extend(system.logs())
    return report
