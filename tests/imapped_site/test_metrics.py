"""Figures for Prometheus: how often they are read, and the listener of their own."""

from __future__ import annotations

import re
import socket
import urllib.request
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.db import OperationalError
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest

from imapped_site.distributions import Distribution, Distributions
from imapped_site.figures import Figures
from imapped_site.metrics import (
    SOURCES,
    DatabaseCollector,
    Source,
    distribution_families,
    figure_families,
    listen_for_metrics,
)
from sync.models import SyncKind, SyncRun, UpstreamUsage
from tests.builders import make_account

FIGURES = Figures(
    accounts=(("active", 3), ("failing", 1)),
    overdue=1,
    mailboxes=12,
    messages=2000,
    message_bytes=10_000,
    waiting=(("header", 5), ("body", 700)),
    mutations=(("pending", 2),),
    parked_mutations=(("read_only", 4),),
    oldest_mutation_seconds=1.5,
    runs=(("success", 4),),
    failures=(("timeout", 6),),
    stale_runs=0,
    parked_messages=8,
    audit_differences=9,
    connections=(("watch", 3),),
    slow_accounts=1,
)


class Clock:
    """A clock that moves when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def source(read: Callable[[], Figures]) -> Source[Figures]:
    return Source(read, figure_families, 10)


def expose(collector: DatabaseCollector) -> str:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


def test_figures_become_metrics() -> None:
    text = expose(DatabaseCollector([source(lambda: FIGURES)], Clock()))
    for line in (
        "imapped_database_up 1.0",
        'imapped_accounts{state="failing"} 1.0',
        "imapped_messages 2000.0",
        'imapped_fetch_waiting{part="body"} 700.0',
        "imapped_mutation_oldest_seconds 1.5",
        'imapped_mutations_parked{cause="read_only"} 4.0',
        'imapped_sync_runs_last_day{outcome="success"} 4.0',
        'imapped_sync_failures_last_day{cause="timeout"} 6.0',
        "imapped_parked_messages 8.0",
        "imapped_audit_differences_total 9.0",
        'imapped_upstream_connections{purpose="watch"} 3.0',
        "imapped_accounts_slow 1.0",
    ):
        assert line in text.splitlines()


def test_distributions_become_histograms_and_counters() -> None:
    spread = Distribution((1.0, 60.0), (2, 1, 1), 300.0)
    found = Distributions(
        lags=spread, durations={"full": spread}, commands={"UID FETCH": spread}, bytes={"UID FETCH": spread},
        account_commands=spread, account_bytes=spread, replay_latency=spread,
    )  # fmt: skip
    text = expose(DatabaseCollector([Source(lambda: found, distribution_families, 60)], Clock()))
    for line in (
        "# TYPE imapped_lag_seconds histogram",
        'imapped_lag_seconds_bucket{le="60.0"} 3.0',
        'imapped_lag_seconds_bucket{le="+Inf"} 4.0',
        "imapped_lag_seconds_count 4.0",
        "imapped_lag_seconds_sum 300.0",
        'imapped_replay_seconds_bucket{le="60.0"} 3.0',
        'imapped_sync_run_seconds_bucket{kind="full",le="1.0"} 2.0',
        'imapped_upstream_kind_bytes_bucket{kind="UID FETCH",le="60.0"} 3.0',
        'imapped_upstream_account_commands_bucket{le="+Inf"} 4.0',
        'imapped_upstream_commands_total{kind="UID FETCH"} 300.0',
    ):
        assert line in text.splitlines()


@pytest.mark.django_db
def test_no_series_names_an_account() -> None:
    account = make_account()
    UpstreamUsage.objects.create(account=account, day=timezone.now().date(), kind="IDLE", commands=3)
    SyncRun.objects.create(account=account, kind=SyncKind.FULL)
    text = expose(DatabaseCollector(SOURCES, Clock()))
    assert 'imapped_upstream_commands_total{kind="IDLE"} 3.0' in text
    labels = set(re.findall(r'(\w+)="', text))
    assert labels == {"state", "part", "outcome", "cause", "purpose", "kind", "le"}


def test_figures_are_kept_for_a_while() -> None:
    clock = Clock()
    numbers = iter(range(100))
    collector = DatabaseCollector([source(lambda: replace(FIGURES, messages=next(numbers)))], clock)
    assert "imapped_messages 0.0" in expose(collector)
    clock.now += 9
    assert "imapped_messages 0.0" in expose(collector)
    clock.now += 1
    assert "imapped_messages 1.0" in expose(collector)


def test_a_database_that_does_not_answer_is_a_metric() -> None:
    def fail() -> Figures:
        raise OperationalError("away")

    text = expose(DatabaseCollector([source(fail)], Clock()))
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
