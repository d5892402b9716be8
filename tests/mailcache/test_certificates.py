"""A self-signed certificate is accepted by a TLS client that trusts it."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailcache.crypto.certificates import write_self_signed


@pytest.mark.parametrize("hostname", ["localhost", "127.0.0.1"])
def test_a_client_that_trusts_it_verifies_names_and_addresses(tmp_path: Path, hostname: str) -> None:
    certificate, key = tmp_path / "tls" / "cert.pem", tmp_path / "tls" / "key.pem"
    write_self_signed(certificate, key, hostnames=["localhost", "127.0.0.1"], now=datetime.now(UTC))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    here, there = socket.socketpair()
    thread = threading.Thread(target=lambda: server.wrap_socket(there, server_side=True).close())
    thread.start()

    client = ssl.create_default_context(cafile=certificate)
    with client.wrap_socket(here, server_hostname=hostname) as connection:
        assert connection.version() == "TLSv1.3"
    thread.join(timeout=10)
    assert key.stat().st_mode & 0o077 == 0
