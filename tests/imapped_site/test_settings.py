"""The settings as a whole, as a process sees them at its start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from imapped_site.generated_key import load_or_create_key
from imapped_site.settings.sources import BASE_DIR
from manage import take_config_option

MANAGE = str(BASE_DIR / "manage.py")


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing in the environment but *environment*."""
    return subprocess.run(
        [sys.executable, MANAGE, *arguments],
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def production(tmp_path: Path) -> dict[str, str]:
    """A complete production environment."""
    for name in ("imap.crt", "imap.key"):
        (tmp_path / name).write_text("PEM", encoding="ascii")
    return {
        "APP_ENV": "production",
        "APP_BASE_URL": "https://mail.example.test",
        "DATA_DIR": str(tmp_path / "data"),
        "ENCRYPTION_MASTER_KEY": "a passphrase that nobody else has 0123456789",
        "DATABASE_URL": "postgresql://imapped:pass@db.example.test/imapped",
        "REDIS_URL": "redis://:pass@redis.example.test:6379/0",
        "IMAP_TLS_CERT_PATH": str(tmp_path / "imap.crt"),
        "IMAP_TLS_KEY_PATH": str(tmp_path / "imap.key"),
    }


def test_a_complete_production_environment_passes_djangos_deployment_checks(production: dict[str, str]) -> None:
    run = manage("check", "--deploy", "--fail-level", "WARNING", **production)
    assert run.returncode == 0, run.stderr


def test_everything_wrong_in_production_is_told_at_once(tmp_path: Path) -> None:
    run = manage(
        "check",
        APP_ENV="production",
        DATA_DIR=str(tmp_path),
        ENCRYPTION_MASTER_KEY="change-me-32-bytes-minimum",
        R2_BUCKET="mail",
        IMAP_TLS_CERT_PATH="/nowhere/imap.crt",
        LOGIN_RATE_LIMIT_LOCKOUT_SECONDS="0",
        PERIODIC_SYNC_INTERVAL_SECONDS="-1",
        LOG_LEVEL="loud",
    )
    assert run.returncode != 0
    for expected in (
        "ENCRYPTION_MASTER_KEY: production needs a secret",
        "APP_BASE_URL: must start with https://",
        "DATABASE_URL: must be set",
        "REDIS_URL: must be set",
        "R2_ENDPOINT, R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY: missing",
        "IMAP_TLS_KEY_PATH: missing",
        "IMAP_TLS_CERT_PATH: there is no file /nowhere/imap.crt",
        "LOGIN_RATE_LIMIT_LOCKOUT_SECONDS: must be at least 1",
        "PERIODIC_SYNC_INTERVAL_SECONDS: must be at least 1",
        "LOG_LEVEL: 'loud' is not one of",
    ):
        assert expected in run.stderr
    assert not list(tmp_path.iterdir()), "production makes no key of its own"


def test_a_desk_needs_no_settings_and_keeps_its_key(tmp_path: Path) -> None:
    first = manage("show_config", DATA_DIR=str(tmp_path / "data"), SEARCH_INDEX_PATH="/old")
    assert first.returncode == 0, first.stderr
    assert "APP_ENV                                development  [default]" in first.stdout
    assert "SEARCH_INDEX_PATH (from environment) does nothing any more" in first.stderr
    key = tmp_path / "data" / "encryption-master-key"
    assert key.stat().st_mode & 0o777 == 0o600
    made = key.read_text(encoding="ascii")
    manage("show_config", DATA_DIR=str(tmp_path / "data"))
    assert key.read_text(encoding="ascii") == made
    assert made.strip() not in first.stdout


def test_a_setting_without_effect_is_told_by_the_checks(tmp_path: Path) -> None:
    run = manage("check", DATA_DIR=str(tmp_path), SEARCH_INDEX_PATH="/old")
    assert run.returncode == 0
    assert "(imapped_site.W001) SEARCH_INDEX_PATH (from environment) does nothing any more" in run.stderr


def test_a_command_without_its_database_says_how_to_start_it(tmp_path: Path) -> None:
    run = manage("migrate", DATA_DIR=str(tmp_path))
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert "`make run` starts it" in run.stderr


def test_a_toml_file_named_on_the_command_line(tmp_path: Path) -> None:
    config = tmp_path / "imapped.toml"
    config.write_text(f'data_dir = "{tmp_path}"\nimap_workers = 7\nsync_concurrency = 3\n', encoding="utf-8")
    run = manage("show_config", "--config", str(config), SYNC_CONCURRENCY="5")
    assert run.returncode == 0, run.stderr
    shown = {line.split()[0]: line.split()[1] for line in run.stdout.splitlines()}
    assert (shown["IMAP_WORKERS"], shown["SYNC_CONCURRENCY"]) == ("7", "5")


def test_the_config_option_is_taken_out_of_the_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_CONFIG_PATH", "before")
    assert take_config_option(["manage.py", "run", "--config", "a.toml", "-v", "2"]) == ["manage.py", "run", "-v", "2"]
    assert os.environ["APP_CONFIG_PATH"] == "a.toml"
    assert take_config_option(["manage.py", "--config=b.toml", "x", "--", "--config"])[-1] == "--config"
    assert os.environ["APP_CONFIG_PATH"] == "b.toml"


def test_s3_is_used_when_its_group_is_complete(tmp_path: Path) -> None:
    program = "import django.conf as c; print(c.settings.STORAGES['segments']['BACKEND'])"
    group = {
        "R2_ENDPOINT": "http://127.0.0.1:9000",
        "R2_BUCKET": "mail",
        "R2_ACCESS_KEY_ID": "id",
        "R2_SECRET_ACCESS_KEY": "secret",
    }
    environment = {
        "PATH": os.environ["PATH"],
        "DATA_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "imapped_site.settings",
    }
    for extra, expected in ((group, "storages.backends.s3.S3Storage"), ({}, "FileSystemStorage")):
        run = subprocess.run(
            [sys.executable, "-c", program], env=environment | extra, cwd=BASE_DIR, capture_output=True, text=True,
            timeout=60, check=True,
        )  # fmt: skip
        assert expected in run.stdout


def test_every_setting_stands_in_the_example_file_and_the_readme() -> None:
    from imapped_site.settings.current import read

    example = (BASE_DIR / ".env.example").read_text(encoding="utf-8")
    readme = (BASE_DIR / "README.md").read_text(encoding="utf-8")
    names = {shown.name for shown in read.shown()}
    assert not {name for name in names if f"{name}=" not in example}
    assert not {name for name in names if f"`{name}`" not in readme}
    offered = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", example, re.MULTILINE))
    for_compose = {"POSTGRES_PASSWORD", "TLS_DIRECTORY"}
    assert offered - for_compose <= names, "the example offers what nobody reads"


def test_passwords_are_hashed_by_argon2_first() -> None:
    assert settings.PASSWORD_HASHERS[0].endswith("Argon2PasswordHasher")


def test_a_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    key = load_or_create_key(path)
    assert len(key) >= 43
    assert load_or_create_key(path) == key
    assert [entry.name for entry in path.parent.iterdir()] == ["key"]
    path.write_text("\n", encoding="ascii")
    with pytest.raises(OSError, match="is empty"):
        load_or_create_key(path)
