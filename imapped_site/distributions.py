"""How figures are spread over accounts and runs, without naming any: counted in buckets by one statement each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet, Sum
from django.utils import timezone

from mailcache.models import LATENCY_BOUNDS, AccountState, ReplayLatency
from mailcache.services.rows import fetch_all

_MINUTE = 60.0
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_MEGABYTE = 1e6

LAG_BOUNDS = (30.0, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 2 * _HOUR, 6 * _HOUR, _DAY, 7 * _DAY)
DURATION_BOUNDS = (0.5, 1.0, 5.0, 15.0, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 6 * _HOUR, _DAY)
COMMAND_BOUNDS = (10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)
BYTE_BOUNDS = (1e4, 1e5, _MEGABYTE, 10 * _MEGABYTE, 1e8, 5e8, 1e9, 2.5e9, 1e10, 1e11)

# A value belongs into the bucket of the smallest bound that is not below it, as Prometheus has it; width_bucket takes
# a value that equals a bound the other way round, hence the signs.
_COUNT = """
    SELECT label, %(size)s - width_bucket(-value, %(falling)s::float8[]) AS bucket, count(*), sum(value)
    FROM ({values}) AS row (label, value)
    GROUP BY 1, 2
"""
_LAGS = """
    SELECT '', greatest(0, extract(epoch FROM %(now)s - coalesce(account.last_synced_at, account.created_at)))::float8
    FROM mailcache_account AS account JOIN mailcache_user AS owner ON owner.id = account.user_id
    WHERE NOT account.sync_paused AND owner.is_active AND account.state <> %(refused)s
"""
# Runs that go on for longer than a day are counted while they do.
_DURATIONS = """
    SELECT kind, greatest(0, extract(epoch FROM coalesce(finished_at, %(now)s) - started_at))::float8
    FROM sync_syncrun WHERE started_at >= %(yesterday)s OR finished_at IS NULL
"""
_COMMANDS = "SELECT kind, commands::float8 FROM sync_upstreamusage WHERE day = %(today)s"
_BYTES = "SELECT kind, (bytes_in + bytes_out)::float8 FROM sync_upstreamusage WHERE day = %(today)s"
_ACCOUNT_COMMANDS = """
    SELECT '', sum(commands)::float8 FROM sync_upstreamusage WHERE day = %(today)s GROUP BY account_id
"""
_ACCOUNT_BYTES = """
    SELECT '', sum(bytes_in + bytes_out)::float8 FROM sync_upstreamusage WHERE day = %(today)s GROUP BY account_id
"""


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many values lie up to each bound and above the last one, and their sum."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float = 0.0

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts)

    def cumulated(self) -> list[tuple[str, float]]:
        """Return the buckets as Prometheus counts them: each holds the ones before it."""
        names = [*(str(bound) for bound in self.bounds), "+Inf"]
        return [(name, sum(self.counts[: place + 1])) for place, name in enumerate(names)]


ByLabel = Mapping[str, Distribution]


@dataclass(frozen=True, slots=True)
class Distributions:
    """What one look at the database told. Usage is that of the present day (UTC)."""

    lags: Distribution
    durations: ByLabel
    commands: ByLabel
    bytes: ByLabel
    account_commands: Distribution
    account_bytes: Distribution
    replay_latency: Distribution
    """Of all changes since ever, as a counter of Prometheus: it falls when an account is removed."""


def read_distributions() -> Distributions:
    """Read everything now, in seven statements."""
    now = timezone.now()
    where = {
        "now": now,
        "today": now.date(),
        "yesterday": now - timedelta(days=1),
        "refused": AccountState.AUTH_FAILED.value,
    }
    return Distributions(
        lags=_single(_LAGS, LAG_BOUNDS, where),
        durations=_spread(_DURATIONS, DURATION_BOUNDS, where),
        commands=_spread(_COMMANDS, COMMAND_BOUNDS, where),
        bytes=_spread(_BYTES, BYTE_BOUNDS, where),
        account_commands=_single(_ACCOUNT_COMMANDS, COMMAND_BOUNDS, where),
        account_bytes=_single(_ACCOUNT_BYTES, BYTE_BOUNDS, where),
        replay_latency=read_latency(ReplayLatency.objects.all()),
    )


def read_latency(rows: QuerySet[ReplayLatency]) -> Distribution:
    """Return how long changes took to get upstream."""
    counts, seconds = [0] * (len(LATENCY_BOUNDS) + 1), 0.0
    for bucket, changes, total in rows.values_list("bucket").annotate(Sum("changes"), Sum("seconds")):
        counts[bucket] = changes
        seconds += total
    return Distribution(LATENCY_BOUNDS, tuple(counts), seconds)


def _single(values: str, bounds: Sequence[float], where: Mapping[str, Any]) -> Distribution:
    empty = Distribution(tuple(bounds), (0,) * (len(bounds) + 1))
    return _spread(values, bounds, where).get("", empty)


def _spread(values: str, bounds: Sequence[float], where: Mapping[str, Any]) -> dict[str, Distribution]:
    parameters = {**where, "size": len(bounds), "falling": [-bound for bound in reversed(bounds)]}
    counts: dict[str, list[int]] = {}
    totals: dict[str, float] = {}
    for label, bucket, count, total in fetch_all(_COUNT.format(values=values), parameters):
        counts.setdefault(label, [0] * (len(bounds) + 1))[bucket] = count
        totals[label] = totals.get(label, 0.0) + total
    return {label: Distribution(tuple(bounds), tuple(counts[label]), totals[label]) for label in sorted(counts)}
