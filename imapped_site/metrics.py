"""Figures of the whole installation for Prometheus, read from the database at most every few seconds.

Labels come from enums and from the names of the commands that we send; figures of single accounts stand in the console
and in ``show_sync_status``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db import Error as DatabaseError
from django.db import connections
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from imapped_site.distributions import ByLabel, Distribution, Distributions, read_distributions
from imapped_site.figures import Figures, read_figures

logger = logging.getLogger(__name__)

CONTENT_TYPE = CONTENT_TYPE_LATEST
_KEPT_SECONDS = 10.0
# These look at every account and every run of a day.
_DISTRIBUTIONS_KEPT_SECONDS = 60.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """Something that is read from the database, how it becomes metrics, and how long it may be kept."""

    read: Callable[[], T]
    families: Callable[[T], Iterator[Metric]]
    kept_seconds: float


class DatabaseCollector(Collector):
    """Turns sources into metrics; a database that does not answer is a metric too, not a failed scrape."""

    def __init__(self, sources: Sequence[Source[Any]], clock: Callable[[], float]) -> None:
        self._sources = sources
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[int, tuple[float, list[Metric]]] = {}

    def describe(self) -> list[Metric]:
        """Name nothing in advance: without this, registering would read the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all sources."""
        try:
            metrics = self._metrics()
        except DatabaseError as error:
            logger.warning("metrics: PostgreSQL: %s", error)
            yield GaugeMetricFamily("imapped_database_up", "Whether PostgreSQL answered.", value=0)
            return
        yield GaugeMetricFamily("imapped_database_up", "Whether PostgreSQL answered.", value=1)
        yield from metrics

    def _metrics(self) -> list[Metric]:
        metrics = []
        with self._lock:
            now = self._clock()
            for place, source in enumerate(self._sources):
                kept = self._kept.get(place)
                if kept is None or now - kept[0] >= source.kept_seconds:
                    kept = self._kept[place] = (now, list(source.families(source.read())))
                metrics += kept[1]
        return metrics


def render_metrics() -> bytes:
    """Return what this process knows and what the database tells, in Prometheus' text format."""
    return generate_latest(REGISTRY)


def listen_for_metrics(bind: tuple[str, int]) -> Callable[[], None] | None:
    """Serve Prometheus at an address of its own until the process ends, or what this returns is called.

    Where several web processes share the address the first one gets it, the others None and a line in the log.
    """
    host, port = bind
    try:
        server, thread = start_http_server(port, addr=host, registry=_ListenerRegistry())
    except OSError as error:
        logger.warning("metrics: cannot listen on %s:%s: %s", host, port, error)
        return None

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


class _ListenerRegistry(CollectorRegistry):
    """The process's registry for the listener, each of whose requests is a thread that must not keep a connection."""

    def __init__(self) -> None:
        super().__init__(auto_describe=False)

    def collect(self) -> Iterator[Metric]:
        try:
            yield from REGISTRY.collect()
        finally:
            connections.close_all()


def figure_families(figures: Figures) -> Iterator[Metric]:
    """Yield the figures as metrics."""
    yield _labelled("imapped_accounts", "Accounts by state.", "state", figures.accounts)
    yield _plain("imapped_accounts_overdue", "Accounts that should have been synced long ago.", figures.overdue)
    yield _plain("imapped_mailboxes", "Mailboxes mirrored.", figures.mailboxes)
    yield _plain("imapped_messages", "Messages mirrored.", figures.messages)
    yield _plain("imapped_message_bytes", "Octets of these messages.", figures.message_bytes)
    yield _labelled("imapped_fetch_waiting", "Messages of which something is to be fetched.", "part", figures.waiting)
    yield _labelled("imapped_mutations", "Local changes in the replay queue by state.", "state", figures.mutations)
    yield _labelled(
        "imapped_mutations_parked",
        "Local changes set aside for an operator by cause.",
        "cause",
        figures.parked_mutations,
    )
    yield _plain(
        "imapped_mutation_oldest_seconds", "Age of the oldest change not yet upstream.", figures.oldest_mutation_seconds
    )
    yield _labelled("imapped_sync_runs_last_day", "Sync runs started in 24 h by outcome.", "outcome", figures.runs)
    yield _labelled(
        "imapped_sync_failures_last_day", "Failed runs of 24 h, to be retried, by cause.", "cause", figures.failures
    )
    yield _plain("imapped_sync_runs_stale", "Runs that claim to run but have no heartbeat.", figures.stale_runs)
    yield _plain("imapped_parked_messages", "Messages that could not be fetched.", figures.parked_messages)
    yield _plain("imapped_accounts_slow", "Accounts that are synced in the slow lane.", figures.slow_accounts)
    yield _labelled("imapped_upstream_connections", "Connections to upstreams in use.", "purpose", figures.connections)
    yield CounterMetricFamily(
        "imapped_audit_differences", "Audits of a mailbox that found a difference.", value=figures.audit_differences
    )


def distribution_families(found: Distributions) -> Iterator[Metric]:
    """Yield the distributions as histograms, and what they sum up to as counters.

    Usage is counted anew each day (UTC), which to Prometheus is the reset of a counter.
    """
    yield _histogram("imapped_lag_seconds", "Since an account was last in step with its upstream.", found.lags)
    yield _histograms("imapped_sync_run_seconds", "Length of the runs of 24 h and of those under way.", found.durations)
    yield _histogram(
        "imapped_replay_seconds", "From a client's change until it was upstream, since ever.", found.replay_latency
    )
    yield _histogram(
        "imapped_upstream_account_commands", "Commands that an account sent today.", found.account_commands
    )
    yield _histogram("imapped_upstream_account_bytes", "Octets of an account today.", found.account_bytes)
    yield _histograms("imapped_upstream_kind_commands", "Commands of a kind of an account today.", found.commands)
    yield _histograms("imapped_upstream_kind_bytes", "Octets of a kind of an account today.", found.bytes)
    yield _totals("imapped_upstream_commands", "Commands sent to upstreams today.", found.commands)
    yield _totals("imapped_upstream_bytes", "Octets exchanged with upstreams today.", found.bytes)


def _plain(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _labelled(name: str, text: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values:
        family.add_metric([value], number)
    return family


def _histogram(name: str, text: str, found: Distribution) -> Metric:
    return HistogramMetricFamily(name, text, buckets=found.cumulated(), sum_value=found.total)


def _histograms(name: str, text: str, found: ByLabel) -> Metric:
    family = HistogramMetricFamily(name, text, labels=["kind"])
    for kind, distribution in found.items():
        family.add_metric([kind], distribution.cumulated(), distribution.total)
    return family


def _totals(name: str, text: str, found: ByLabel) -> Metric:
    family = CounterMetricFamily(name, text, labels=["kind"])
    for kind, distribution in found.items():
        family.add_metric([kind], distribution.total)
    return family


SOURCES: tuple[Source[Any], ...] = (
    Source(read_figures, figure_families, _KEPT_SECONDS),
    Source(read_distributions, distribution_families, _DISTRIBUTIONS_KEPT_SECONDS),
)
REGISTRY.register(DatabaseCollector(SOURCES, time.monotonic))
