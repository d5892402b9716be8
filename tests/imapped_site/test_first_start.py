"""What a first start creates, once."""

from __future__ import annotations

import io
import re
import ssl
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.contrib.auth.hashers import make_password
from django.core.management import call_command

from imapped_site.first_start import create_first_administrator, create_self_signed_certificate
from mailcache.models import User


@pytest.mark.django_db
def test_prepare_shows_a_generated_password_once(settings: LazySettings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path / "data"
    settings.RUN_DIR = tmp_path / "data" / "run"
    settings.IMAP_TLS_CERT_PATH = tmp_path / "imap.crt"
    settings.IMAP_TLS_KEY_PATH = tmp_path / "imap.key"
    output = io.StringIO()
    call_command("prepare", stdout=output)
    told = re.search(r"administrator  (\S+)\n\s+with the password\s+(\S+)", output.getvalue())
    assert told is not None
    user = User.objects.get(email=told[1])
    assert user.check_password(told[2])
    assert user.is_superuser
    assert user.is_staff
    assert settings.RUN_DIR.is_dir()

    again = io.StringIO()
    call_command("prepare", stdout=again)
    assert again.getvalue() == ""
    assert User.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("hashed", [False, True])
def test_the_bootstrap_settings_name_the_first_administrator(settings: LazySettings, *, hashed: bool) -> None:
    settings.BOOTSTRAP_IMAP_USERNAME = "me@example.test"
    settings.BOOTSTRAP_IMAP_PASSWORD = "" if hashed else "correct horse"
    settings.BOOTSTRAP_IMAP_PASSWORD_HASH = make_password("correct horse").removeprefix("argon2") if hashed else ""
    lines = create_first_administrator()
    assert "correct horse" not in "".join(lines)
    assert User.objects.get(email="me@example.test").check_password("correct horse")


def test_the_certificate_can_be_served(settings: LazySettings, tmp_path: Path) -> None:
    settings.IMAP_TLS_CERT_PATH = tmp_path / "tls" / "imap.crt"
    settings.IMAP_TLS_KEY_PATH = tmp_path / "tls" / "imap.key"
    settings.IMAP_TLS_IS_GENERATED = True
    assert "localhost" in create_self_signed_certificate()[0]
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
        settings.IMAP_TLS_CERT_PATH, settings.IMAP_TLS_KEY_PATH
    )
    assert create_self_signed_certificate() == [], "an existing one is kept"
    settings.IMAP_TLS_IS_GENERATED = False
    settings.IMAP_TLS_CERT_PATH = tmp_path / "mine.crt"
    assert create_self_signed_certificate() == []
