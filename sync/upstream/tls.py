"""TLS towards upstreams: system authorities and an extra CA file, host name checks always on."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

from sync.upstream.errors import Severity, TlsFailed


@lru_cache(maxsize=64)
def _context(ca_file: Path | None, _changed: float) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Sessions are never resumed, and a ticket would stay in memory for as long as a connection idles.
    context.options |= ssl.OP_NO_TICKET
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return the context for connections that trust ``ca_file`` beside the system's authorities."""
    try:
        return _context(ca_file, ca_file.stat().st_mtime if ca_file is not None else 0.0)
    except (OSError, ssl.SSLError) as error:
        raise TlsFailed(f"the CA file {ca_file} cannot be used: {error}", severity=Severity.ACCOUNT) from error


def tls_failed(error: ssl.SSLError | ssl.CertificateError) -> TlsFailed:
    """Return what a failed handshake means: an untrusted or foreign certificate stays one until somebody acts."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsFailed(f"the certificate is not trusted: {error.verify_message}", severity=Severity.ACCOUNT)
    return TlsFailed(f"TLS failed: {error.reason or error}")
