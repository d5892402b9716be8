"""The frontend's settings, read once per process."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from imapfront.protocol import Limits


@dataclass(frozen=True, slots=True)
class Configuration:
    """How a frontend process listens and what it allows. Times are seconds."""

    plaintext_bind: tuple[str, int] | None
    tls_bind: tuple[str, int] | None
    tls_cert_path: Path
    tls_key_path: Path
    allow_plaintext_login: bool
    limits: Limits
    login_timeout: float = 60.0
    idle_timeout: float = 35 * 60.0
    """RFC 3501 5.4 asks for 30 minutes at least."""
    body_wait: float = 30.0
    """How long a FETCH waits for bytes that are not here yet after the last ones came."""
    stop_grace: float = 10.0
    poll_interval: float = 1.0
    service_threads: int = 8
    pool_size: int = 8

    def tls_context(self) -> ssl.SSLContext | None:
        """Return the server's TLS context, or None while there is no certificate."""
        if not self.tls_cert_path.is_file():
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.tls_cert_path, self.tls_key_path)
        return context


def configuration() -> Configuration:
    """Return the configuration that the settings ask for."""
    return Configuration(
        plaintext_bind=settings.IMAP_PLAINTEXT_BIND,
        tls_bind=settings.IMAP_TLS_BIND,
        tls_cert_path=settings.IMAP_TLS_CERT_PATH,
        tls_key_path=settings.IMAP_TLS_KEY_PATH,
        allow_plaintext_login=settings.IMAP_ALLOW_PLAINTEXT_LOGIN,
        limits=Limits(literal_after_login=settings.MAX_LITERAL_SIZE_BYTES, message=settings.MAX_MESSAGE_SIZE_BYTES),
        body_wait=settings.FETCH_WAIT_SECONDS,
    )
