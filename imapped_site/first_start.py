"""What a first start creates: directories, a certificate for the IMAP listeners, somebody who may log in."""

from __future__ import annotations

import secrets
import socket
from datetime import UTC, datetime

from django.conf import settings

from mailcache.crypto.certificates import write_self_signed
from mailcache.models import User
from mailcache.services.users import create_user

_DEFAULT_ADMINISTRATOR = "admin@localhost"
_PASSWORD_BYTES = 15


def make_directories() -> None:
    """Make the directories that every process expects."""
    settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
    settings.RUN_DIR.mkdir(mode=0o700, exist_ok=True)


def create_self_signed_certificate() -> list[str]:
    """Write a certificate where none is set and none was written before; tells so in lines for the operator."""
    certificate, key = settings.IMAP_TLS_CERT_PATH, settings.IMAP_TLS_KEY_PATH
    if not settings.IMAP_TLS_IS_GENERATED or (certificate.exists() and key.exists()):
        return []
    hostnames = list(dict.fromkeys(["localhost", socket.gethostname(), "127.0.0.1", "::1"]))
    write_self_signed(certificate, key, hostnames=hostnames, now=datetime.now(UTC))
    return [f"wrote a self-signed certificate for {', '.join(hostnames)}: {certificate}"]


def create_first_administrator() -> list[str]:
    """Create an administrator where there is none; its generated password stands in the lines returned, once."""
    if User.objects.filter(is_superuser=True).exists():
        return []
    email = settings.BOOTSTRAP_IMAP_USERNAME or _DEFAULT_ADMINISTRATOR
    given = settings.BOOTSTRAP_IMAP_PASSWORD
    encoded = settings.BOOTSTRAP_IMAP_PASSWORD_HASH
    password = given or secrets.token_urlsafe(_PASSWORD_BYTES)
    create_user(
        email=email,
        password=password,
        encoded_password=f"argon2{encoded}" if encoded else None,
        is_staff=True,
        is_superuser=True,
    )
    if given or encoded:
        return [f"created the administrator {email} with the password of BOOTSTRAP_IMAP_*"]
    return [
        "",
        f"    Created the administrator  {email}",
        f"    with the password          {password}",
        "    It is shown this once. The console sets another.",
        "",
    ]
