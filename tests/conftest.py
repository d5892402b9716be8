"""Fixtures that all tests share."""

from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

pytest_plugins = ["tests.servers.fixtures", "tests.e2e.figures", "tests.imapfront.fixtures"]


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["tests.hashers.QuickArgon2PasswordHasher"]
