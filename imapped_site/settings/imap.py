"""The IMAP frontend towards mail clients, and logging in."""

from __future__ import annotations

import os

from imapped_site.settings.core import APP_ENV, DATA_DIR
from imapped_site.settings.current import read

__all__ = [
    "BOOTSTRAP_IMAP_PASSWORD", "BOOTSTRAP_IMAP_PASSWORD_HASH", "BOOTSTRAP_IMAP_USERNAME",
    "FETCH_WAIT_SECONDS", "IMAP_ALLOW_PLAINTEXT_LOGIN", "IMAP_PLAINTEXT_BIND", "IMAP_TLS_BIND", "IMAP_TLS_CERT_PATH",
    "IMAP_TLS_IS_GENERATED", "IMAP_TLS_KEY_PATH",
    "IMAP_WORKERS", "LOGIN_RATE_LIMIT_FAILURES", "LOGIN_RATE_LIMIT_LOCKOUT_SECONDS", "MAX_LITERAL_SIZE_BYTES",
    "MAX_MESSAGE_SIZE_BYTES",
]  # fmt: skip

IMAP_PLAINTEXT_BIND = read.bind("IMAP_PLAINTEXT_BIND", "127.0.0.1:1143")
IMAP_TLS_BIND = read.bind("IMAP_TLS_BIND", "127.0.0.1:1993")
if IMAP_PLAINTEXT_BIND is None and IMAP_TLS_BIND is None:
    read.fault("IMAP_PLAINTEXT_BIND, IMAP_TLS_BIND", "both are off, so no mail client could connect")
_certificate = read.path("IMAP_TLS_CERT_PATH")
_key = read.path("IMAP_TLS_KEY_PATH")
IMAP_TLS_IS_GENERATED = not read.all_or_none(
    {"IMAP_TLS_CERT_PATH": str(_certificate or ""), "IMAP_TLS_KEY_PATH": str(_key or "")}, group="TLS"
)
if IMAP_TLS_IS_GENERATED and APP_ENV == "production":
    read.fault("IMAP_TLS_CERT_PATH, IMAP_TLS_KEY_PATH", "must be set in production: clients check certificates")
for _name, _path in (("IMAP_TLS_CERT_PATH", _certificate), ("IMAP_TLS_KEY_PATH", _key)):
    if _path is not None and not os.access(_path, os.R_OK):
        read.fault(_name, f"there is no file {_path} that this process may read")
# Without a certificate of one's own, `manage.py prepare` writes a self-signed one.
IMAP_TLS_CERT_PATH = _certificate or DATA_DIR / "tls" / "imap.crt"
IMAP_TLS_KEY_PATH = _key or DATA_DIR / "tls" / "imap.key"
IMAP_ALLOW_PLAINTEXT_LOGIN = read.boolean("IMAP_ALLOW_PLAINTEXT_LOGIN", default=False)
IMAP_WORKERS = read.integer("IMAP_WORKERS", 2, minimum=1, maximum=64)

FETCH_WAIT_SECONDS = read.integer("FETCH_WAIT_SECONDS", 30, minimum=1, maximum=300)
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
if BOOTSTRAP_IMAP_USERNAME and "@" not in BOOTSTRAP_IMAP_USERNAME:
    read.fault("BOOTSTRAP_IMAP_USERNAME", "must be an e-mail address: that is what people log in with")
if BOOTSTRAP_IMAP_PASSWORD_HASH and not BOOTSTRAP_IMAP_PASSWORD_HASH.startswith("$argon2"):
    read.fault("BOOTSTRAP_IMAP_PASSWORD_HASH", "is not an Argon2 hash ($argon2id$v=19$...)")
