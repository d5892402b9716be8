"""How lag, usage and durations are spread over accounts and runs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from imapped_site.distributions import LAG_BOUNDS, Distribution, read_distributions
from mailcache.models import Account, AccountState
from mailcache.services import accounts
from sync.models import SyncKind, SyncOutcome, SyncRun, UpstreamUsage
from tests.builders import make_account

pytestmark = pytest.mark.django_db


def filled(distribution: Distribution) -> dict[str, int]:
    """Return the buckets that are not empty by their upper bounds."""
    names = [*map(str, distribution.bounds), "+Inf"]
    return {name: count for name, count in zip(names, distribution.counts, strict=True) if count}


def test_of_nothing(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(7):
        found = read_distributions()
    assert found.lags == Distribution(LAG_BOUNDS, (0,) * (len(LAG_BOUNDS) + 1))
    assert (found.durations, found.commands, found.bytes) == ({}, {}, {})


def test_buckets_are_cumulated_as_prometheus_wants_them() -> None:
    assert Distribution((1.0, 5.0), (2, 0, 3), 40.0).cumulated() == [("1.0", 2), ("5.0", 2), ("+Inf", 5)]


class TestLag:
    def test_since_an_account_was_in_step_or_added(self) -> None:
        now = timezone.now()
        for synced, created in ((10, 0), (7000, 0), (None, 3000), (10_000_000, 0)):
            account = make_account()
            Account.objects.filter(pk=account.pk).update(
                last_synced_at=None if synced is None else now - timedelta(seconds=synced),
                created_at=now - timedelta(seconds=created),
            )
        lags = read_distributions().lags
        assert filled(lags) == {"30.0": 1, "3600.0": 1, "7200.0": 1, "+Inf": 1}
        assert lags.total == pytest.approx(10_010_010, abs=60)

    def test_only_accounts_that_are_kept_in_step(self) -> None:
        paused, refused, inactive = make_account(), make_account(), make_account()
        accounts.pause_sync(account_id=paused.pk, paused=True)
        Account.objects.filter(pk=refused.pk).update(state=AccountState.AUTH_FAILED)
        inactive.user.is_active = False
        inactive.user.save()
        assert filled(read_distributions().lags) == {}


def test_usage_of_today_by_kind_and_by_account() -> None:
    today = timezone.now().date()
    for commands in (10, 11, 5000):
        account = make_account()
        for kind, count in (("UID FETCH", commands), ("IDLE", 1)):
            UpstreamUsage.objects.create(
                account=account, day=today, kind=kind, commands=count, bytes_in=count * 1000, bytes_out=count
            )
        UpstreamUsage.objects.create(account=account, day=today - timedelta(days=1), kind="NOOP", commands=7)
    found = read_distributions()
    # A value that equals a bound belongs to it.
    assert filled(found.commands["UID FETCH"]) == {"10.0": 1, "30.0": 1, "10000.0": 1}
    assert (found.commands["UID FETCH"].total, found.bytes["IDLE"].total) == (5021, 3 * 1001)
    assert set(found.commands) == set(found.bytes) == {"UID FETCH", "IDLE"}
    assert filled(found.account_commands) == {"30.0": 2, "10000.0": 1}
    assert found.account_commands.total == 5024
    assert found.account_bytes.total == 5024 * 1001


def test_runs_of_a_day_and_those_under_way() -> None:
    now = timezone.now()
    long_ago = now - timedelta(days=3)
    for kind, began, seconds in (
        (SyncKind.FULL, now - timedelta(hours=1), 4),
        (SyncKind.CHANGED, now - timedelta(hours=1), 0),
        (SyncKind.FULL, long_ago, 4),
        (SyncKind.FULL, long_ago, None),
    ):
        ended = None if seconds is None else began + timedelta(seconds=seconds)
        outcome = SyncOutcome.COMPLETED if ended else SyncOutcome.RUNNING
        SyncRun.objects.create(account=make_account(), kind=kind, outcome=outcome, started_at=began, finished_at=ended)
    durations = read_distributions().durations
    assert {kind: filled(found) for kind, found in durations.items()} == {
        "full": {"5.0": 1, "+Inf": 1},
        "changed": {"0.5": 1},
    }
