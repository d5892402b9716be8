"""A real frontend for tests: ``manage.py runimap`` as its own processes, over the test database."""

from __future__ import annotations

import contextlib
import imaplib
import os
import signal
import socket
import ssl
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.db import connection

from mailcache.crypto.certificates import write_self_signed
from tests.servers.dovecot import free_port
from tests.waiting import wait_until

HOST = "127.0.0.1"


@dataclass
class Frontend:
    """The processes of one frontend on free ports."""

    directory: Path
    workers: int = 1
    environment: dict[str, str] = field(default_factory=dict)
    plain_port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None
    _clients: list[imaplib.IMAP4] = field(default_factory=list)

    @property
    def certificate(self) -> Path:
        """The certificate to trust."""
        return self.directory / "imap.crt"

    @property
    def pid(self) -> int:
        """The parent of the serving processes."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What the processes wrote."""
        return (self.directory / "runimap.log").read_text(errors="replace")

    def start(self) -> None:
        """Start, and return when clients are greeted."""
        key = self.directory / "imap.key"
        write_self_signed(self.certificate, key, hostnames=["localhost", HOST], now=datetime.now(UTC))
        database = str(connection.settings_dict["NAME"])
        environment = os.environ | {
            "DATABASE_URL": with_database(os.environ["DATABASE_URL"], database),
            "DATA_DIR": str(settings.DATA_DIR),
            "IMAP_PLAINTEXT_BIND": f"{HOST}:{self.plain_port}",
            "IMAP_TLS_BIND": f"{HOST}:{self.tls_port}",
            "IMAP_TLS_CERT_PATH": str(self.certificate),
            "IMAP_TLS_KEY_PATH": str(key),
            "IMAP_WORKERS": str(self.workers),
            **self.environment,
        }
        with (self.directory / "runimap.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(settings.BASE_DIR / "manage.py"), "runimap"],
                env=environment,
                stdout=log,
                stderr=log,
            )
        wait_until(self.greets, timeout=30)

    def stop(self) -> int:
        """Stop in an orderly way; returns the exit status."""
        assert self._process is not None
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown()
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=30)

    def connect(self) -> imaplib.IMAP4:
        """Return an imaplib client that is greeted; ``stop`` closes it."""
        client = imaplib.IMAP4(HOST, self.plain_port, timeout=30)
        self._clients.append(client)
        return client

    def connect_tls(self) -> imaplib.IMAP4:
        """Return an imaplib client over TLS from the first byte."""
        context = ssl.create_default_context(cafile=self.certificate)
        client = imaplib.IMAP4_SSL("localhost", self.tls_port, ssl_context=context, timeout=30)
        self._clients.append(client)
        return client

    def greets(self) -> bool:
        """Tell whether clients are greeted."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"runimap ended: {self.log}")
        try:
            with socket.create_connection((HOST, self.plain_port), timeout=5) as client:
                return client.recv(4) == b"* OK"
        except OSError:
            return False


def with_database(url: str, database: str) -> str:
    """Return the URL of another database of the same server."""
    head, _, tail = url.partition("://")
    location, slash, rest = tail.partition("/")
    _, question, options = rest.partition("?")
    return f"{head}://{location}{slash or '/'}{database}{question}{options}"
