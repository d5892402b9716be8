"""Fixtures of fakes that several tests need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from tests.fakes.authorization_server import AuthorizationServer


@pytest.fixture
def authorization_server(settings: Settings) -> Iterator[AuthorizationServer]:
    server = AuthorizationServer()
    settings.OAUTH_PROVIDERS = {server.provider.name: server.provider}
    yield server
    server.close()
