"""Figures of the whole installation for Prometheus, read from the database at most every few seconds.

Labels come from enums only; figures of single accounts stand in the console and in ``show_sync_status``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from django.db import Error as DatabaseError
from django.db import connections
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from imapped_site.figures import Figures, read_figures

logger = logging.getLogger(__name__)

CONTENT_TYPE = CONTENT_TYPE_LATEST
_KEPT_SECONDS = 10.0


class DatabaseCollector(Collector):
    """Turns ``Figures`` into metrics; a database that does not answer is a metric too, not a failed scrape."""

    def __init__(self, read: Callable[[], Figures], clock: Callable[[], float], kept_seconds: float) -> None:
        self._read = read
        self._clock = clock
        self._kept_seconds = kept_seconds
        self._lock = threading.Lock()
        self._kept: tuple[float, Figures] | None = None

    def describe(self) -> list[Metric]:
        """Name nothing in advance: without this, registering would read the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        try:
            figures = self._figures()
        except DatabaseError as error:
            logger.warning("metrics: PostgreSQL: %s", error)
            yield GaugeMetricFamily("imapped_database_up", "Whether PostgreSQL answered.", value=0)
            return
        yield GaugeMetricFamily("imapped_database_up", "Whether PostgreSQL answered.", value=1)
        yield from _families(figures)

    def _figures(self) -> Figures:
        with self._lock:
            now = self._clock()
            if self._kept is None or now - self._kept[0] >= self._kept_seconds:
                self._kept = (now, self._read())
            return self._kept[1]


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


def _families(figures: Figures) -> Iterator[Metric]:
    yield _labelled("imapped_accounts", "Accounts by state.", "state", figures.accounts)
    yield _plain("imapped_accounts_overdue", "Accounts that should have been synced long ago.", figures.overdue)
    yield _plain("imapped_mailboxes", "Mailboxes mirrored.", figures.mailboxes)
    yield _plain("imapped_messages", "Messages mirrored.", figures.messages)
    yield _plain("imapped_message_bytes", "Octets of these messages.", figures.message_bytes)
    yield _labelled("imapped_fetch_waiting", "Messages of which something is to be fetched.", "part", figures.waiting)
    yield _labelled("imapped_mutations", "Local changes in the replay queue by state.", "state", figures.mutations)
    yield _plain(
        "imapped_mutation_oldest_seconds", "Age of the oldest change not yet upstream.", figures.oldest_mutation_seconds
    )
    yield _labelled("imapped_sync_runs_last_day", "Sync runs started in 24 h by outcome.", "outcome", figures.runs)
    yield _plain("imapped_sync_runs_stale", "Runs that claim to run but have no heartbeat.", figures.stale_runs)


def _plain(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _labelled(name: str, text: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values:
        family.add_metric([value], number)
    return family


REGISTRY.register(DatabaseCollector(read_figures, time.monotonic, _KEPT_SECONDS))
