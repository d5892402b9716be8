"""Figures for Prometheus: how often they are read, and the listener of their own."""

from __future__ import annotations

import socket
import urllib.request
from dataclasses import replace

import pytest
from django.db import OperationalError
from prometheus_client import CollectorRegistry, generate_latest

from imapped_site.figures import Figures
from imapped_site.metrics import DatabaseCollector, listen_for_metrics

FIGURES = Figures(
    accounts=(("active", 3), ("failing", 1)),
    overdue=1,
    mailboxes=12,
    messages=2000,
    message_bytes=10_000,
    waiting=(("header", 5), ("body", 700)),
    mutations=(("pending", 2),),
    oldest_mutation_seconds=1.5,
    runs=(("success", 4),),
    stale_runs=0,
)


class Clock:
    """A clock that moves when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def expose(collector: DatabaseCollector) -> str:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


def test_figures_become_metrics() -> None:
    text = expose(DatabaseCollector(lambda: FIGURES, Clock(), 10))
    for line in (
        "imapped_database_up 1.0",
        'imapped_accounts{state="failing"} 1.0',
        "imapped_messages 2000.0",
        'imapped_fetch_waiting{part="body"} 700.0',
        "imapped_mutation_oldest_seconds 1.5",
        'imapped_sync_runs_last_day{outcome="success"} 4.0',
    ):
        assert line in text.splitlines()


def test_figures_are_kept_for_a_while() -> None:
    clock = Clock()
    numbers = iter(range(100))
    collector = DatabaseCollector(lambda: replace(FIGURES, messages=next(numbers)), clock, 10)
    assert "imapped_messages 0.0" in expose(collector)
    clock.now += 9
    assert "imapped_messages 0.0" in expose(collector)
    clock.now += 1
    assert "imapped_messages 1.0" in expose(collector)


def test_a_database_that_does_not_answer_is_a_metric() -> None:
    def fail() -> Figures:
        raise OperationalError("away")

    text = expose(DatabaseCollector(fail, Clock(), 10))
    assert "imapped_database_up 0.0" in text
    assert "imapped_messages" not in text


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.mark.django_db(transaction=True)
def test_the_listener_serves_figures_and_keeps_no_connection(free_port: int) -> None:
    stop = listen_for_metrics(("127.0.0.1", free_port))
    assert stop is not None
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=10) as answer:
            assert "imapped_database_up 1.0" in answer.read().decode()
    finally:
        stop()


def test_a_second_process_at_the_same_address_goes_without() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert listen_for_metrics(("127.0.0.1", taken.getsockname()[1])) is None
