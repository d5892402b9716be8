"""Two thousand idle connections in one process stay below 100 MB; the sample of CI is measured by the connection."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, transaction

from mailcache.crypto.certificates import write_self_signed
from mailcache.models import Account, Mailbox, MailboxRole, TlsMode
from sync.models import Checkpoint
from tests.builders import make_account, make_user
from tests.e2e.figures import Report
from tests.e2e.processes import ManagedProcess
from tests.imapfront.frontend import with_database
from tests.proofs import keep_results, scaled
from tests.waiting import wait_until

_ALL = 2_000
_FEW = 20
_LIMIT = 100 * 1024**2
_HOSTS = ["127.0.0.1", "localhost"]


class IdleUpstream:
    """The fake upstream in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.certificate = directory / "idle.crt"
        key = directory / "idle.key"
        write_self_signed(self.certificate, key, hostnames=_HOSTS, now=datetime.now(UTC))
        command = [sys.executable, "-m", "tests.fakes.idle_upstream", str(self.certificate), str(key)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=settings.BASE_DIR)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        context = ssl.create_default_context(cafile=self.certificate)
        raw = socket.create_connection((_HOSTS[0], self.port), timeout=30)
        self._client = context.wrap_socket(raw, server_hostname=_HOSTS[0])
        self._file = self._client.makefile("rb")
        self._file.readline()

    def idling(self) -> int:
        """Return how many connections idle now."""
        self._client.sendall(b"a IDLING\r\n")
        return int(self._file.readline().split()[2])

    def stop(self) -> None:
        """End it."""
        self._file.close()
        self._client.close()
        self._process.terminate()
        self._process.communicate(timeout=20)


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[IdleUpstream]:
    server = IdleUpstream(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def watcher(transactional_db: None, upstream: IdleUpstream, tmp_path: Path) -> Iterator[ManagedProcess]:
    """``manage.py runwatch`` on the test's database."""
    environment = os.environ | {
        "DATABASE_URL": with_database(os.environ["DATABASE_URL"], str(connection.settings_dict["NAME"])),
        "DATA_DIR": str(settings.DATA_DIR),
        "UPSTREAM_CA_FILE": str(upstream.certificate),
    }
    command = [sys.executable, "manage.py", "runwatch"]
    process = ManagedProcess("watch", command, environment=environment, log=tmp_path / "watch.log")
    yield process
    assert process.stop() == 0, process.tail()


@transaction.atomic
def _add_accounts(count: int, port: int) -> None:
    """Add accounts that are in step with the upstream."""
    user = make_user()
    new = [make_account(user, host=_HOSTS[number % len(_HOSTS)], port=port) for number in range(count)]
    Account.objects.update(tls_mode=TlsMode.TLS)
    inboxes = Mailbox.objects.bulk_create(
        Mailbox(account=account, name="INBOX", role=MailboxRole.INBOX, uidvalidity=1, upstream_name=b"INBOX")
        for account in new
    )
    now = datetime.now(UTC)
    Checkpoint.objects.bulk_create(
        Checkpoint(account=inbox.account, mailbox=inbox, uidvalidity=7, uidnext=9, exists=3, compared_at=now)
        for inbox in inboxes
    )


def _resident(pid: int) -> int:
    fields = Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()
    return int(fields[0]) * 1024


@pytest.mark.prove
@pytest.mark.timeout(1200)
def test_memory_of_idle_connections(watcher: ManagedProcess, upstream: IdleUpstream, report_figure: Report) -> None:
    count = scaled(300, full=_ALL)
    _add_accounts(_FEW, upstream.port)
    wait_until(_idle(watcher, upstream, _FEW), 120)
    before = _resident(watcher.pid)
    _add_accounts(count - _FEW, upstream.port)
    wait_until(_idle(watcher, upstream, count), 600)
    after = _resident(watcher.pid)
    each = (after - before) / (count - _FEW)
    expected = each * _ALL
    text = (
        f"{count} idle TLS connections: {each / 1024:.1f} KB for each, so {expected / 1024**2:.1f} MB for {_ALL};"
        f" the process has {after / 1024**2:.1f} MB"
    )
    report_figure(text)
    keep_results("watcher_memory", [text])
    assert expected < _LIMIT, text


def _idle(watcher: ManagedProcess, upstream: IdleUpstream, count: int) -> Callable[[], bool]:
    def are_idle() -> bool:
        assert watcher.alive(), watcher.tail()
        return upstream.idling() == count

    return are_idle
