"""Endpoints for machines."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import AsyncClient, Client
from pytest_django import Settings


def unreachable_database(*_: Any) -> None:
    """Stand in for every statement, as if the server were away."""
    raise OperationalError("connection refused")


class TestHealthz:
    async def test_alive(self, async_client: AsyncClient) -> None:
        """Without the ``db`` fixture: pytest-django forbids any query here."""
        answer = await async_client.get("/healthz")
        assert (answer.status_code, answer.content) == (200, b"ok\n")

    def test_nothing_is_changed_by_it(self, client: Client) -> None:
        assert client.post("/healthz").status_code == 405


@pytest.mark.django_db
class TestReadyz:
    def test_ready(self, client: Client) -> None:
        answer = client.get("/readyz")
        assert answer.status_code == 200
        assert answer.json() == {
            "status": "ready", "checks": {"postgresql": "ok", "migrations": "ok", "redis": "ok"}
        }  # fmt: skip

    def test_without_redis_it_is_degraded_but_ready(self, client: Client, settings: Settings) -> None:
        settings.REDIS_URL = "redis://127.0.0.1:1/0"
        answer = client.get("/readyz")
        assert answer.status_code == 200
        assert (answer.json()["status"], answer.json()["checks"]["redis"]) == ("degraded", "unreachable")

    def test_without_the_database_it_is_unavailable(self, client: Client) -> None:
        with connection.execute_wrapper(unreachable_database):
            answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["postgresql"] == "unreachable"
        assert b"refused" not in answer.content

    def test_with_old_tables_it_is_unavailable(self, client: Client) -> None:
        MigrationRecorder(connection).record_unapplied("mailcache", "0001_initial")
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["migrations"] == "1 not applied"


@pytest.mark.django_db
class TestMetrics:
    def test_for_this_machine(self, client: Client) -> None:
        answer = client.get("/metrics")
        assert answer.status_code == 200
        text = answer.content.decode()
        assert "imapped_database_up 1.0" in text
        assert 'imapped_accounts{state="active"}' in text

    @pytest.mark.parametrize(
        "peer",
        [
            {"REMOTE_ADDR": "192.0.2.1"},
            {"HTTP_X_FORWARDED_FOR": "192.0.2.1"},
            {"HTTP_FORWARDED": "for=192.0.2.1"},
            {"REMOTE_ADDR": ""},
        ],
    )
    def test_for_nobody_else(self, client: Client, peer: dict[str, Any]) -> None:
        assert client.get("/metrics", **peer).status_code == 404

    def test_not_here_when_they_have_an_address_of_their_own(self, client: Client, settings: Settings) -> None:
        settings.METRICS_BIND = ("127.0.0.1", 9100)
        assert client.get("/metrics").status_code == 404
