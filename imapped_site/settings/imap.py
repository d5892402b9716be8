"""The IMAP frontend towards mail clients, and logging in."""

from __future__ import annotations

from imapped_site.settings.current import read

__all__ = [
    "BOOTSTRAP_IMAP_PASSWORD", "BOOTSTRAP_IMAP_PASSWORD_HASH", "BOOTSTRAP_IMAP_USERNAME",
    "IMAP_ALLOW_PLAINTEXT_LOGIN", "IMAP_PLAINTEXT_BIND", "IMAP_TLS_BIND", "IMAP_TLS_CERT_PATH", "IMAP_TLS_KEY_PATH",
    "IMAP_WORKERS", "LOGIN_RATE_LIMIT_FAILURES", "LOGIN_RATE_LIMIT_LOCKOUT_SECONDS", "MAX_LITERAL_SIZE_BYTES",
    "MAX_MESSAGE_SIZE_BYTES",
]  # fmt: skip

IMAP_PLAINTEXT_BIND = read.bind("IMAP_PLAINTEXT_BIND", "127.0.0.1:1143")
IMAP_TLS_BIND = read.bind("IMAP_TLS_BIND", "127.0.0.1:1993")
if IMAP_PLAINTEXT_BIND is None and IMAP_TLS_BIND is None:
    read.fault("IMAP_PLAINTEXT_BIND, IMAP_TLS_BIND", "both are off, so no mail client could connect")
IMAP_TLS_CERT_PATH = read.path("IMAP_TLS_CERT_PATH")
IMAP_TLS_KEY_PATH = read.path("IMAP_TLS_KEY_PATH")
_has_certificate = read.all_or_none(
    {"IMAP_TLS_CERT_PATH": str(IMAP_TLS_CERT_PATH or ""), "IMAP_TLS_KEY_PATH": str(IMAP_TLS_KEY_PATH or "")},
    group="TLS",
)
if _has_certificate:
    for _name, _path in (("IMAP_TLS_CERT_PATH", IMAP_TLS_CERT_PATH), ("IMAP_TLS_KEY_PATH", IMAP_TLS_KEY_PATH)):
        if _path is not None and not _path.is_file():
            read.fault(_name, f"there is no file {_path}")
IMAP_ALLOW_PLAINTEXT_LOGIN = read.boolean("IMAP_ALLOW_PLAINTEXT_LOGIN", default=False)
IMAP_WORKERS = read.integer("IMAP_WORKERS", 2, minimum=1, maximum=64)

MAX_LITERAL_SIZE_BYTES = read.integer("MAX_LITERAL_SIZE_BYTES", 50 * 1024**2, minimum=1024, maximum=2**31)
MAX_MESSAGE_SIZE_BYTES = read.integer("MAX_MESSAGE_SIZE_BYTES", 100 * 1024**2, minimum=1024, maximum=2**31)
LOGIN_RATE_LIMIT_FAILURES = read.integer("LOGIN_RATE_LIMIT_FAILURES", 5, minimum=1)
LOGIN_RATE_LIMIT_LOCKOUT_SECONDS = read.integer("LOGIN_RATE_LIMIT_LOCKOUT_SECONDS", 60, minimum=1)

BOOTSTRAP_IMAP_USERNAME = read.text("BOOTSTRAP_IMAP_USERNAME")
BOOTSTRAP_IMAP_PASSWORD = read.secret("BOOTSTRAP_IMAP_PASSWORD")
BOOTSTRAP_IMAP_PASSWORD_HASH = read.secret("BOOTSTRAP_IMAP_PASSWORD_HASH")
if bool(BOOTSTRAP_IMAP_USERNAME) != bool(BOOTSTRAP_IMAP_PASSWORD or BOOTSTRAP_IMAP_PASSWORD_HASH):
    read.fault("BOOTSTRAP_IMAP_*", "a user name and a password (or its hash) go together")
if BOOTSTRAP_IMAP_PASSWORD and BOOTSTRAP_IMAP_PASSWORD_HASH:
    read.fault("BOOTSTRAP_IMAP_PASSWORD, BOOTSTRAP_IMAP_PASSWORD_HASH", "set one of the two, not both")
