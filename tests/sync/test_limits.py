"""The connection table of design section 6, for every number of connections that an account may have."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from sync import limits
from sync.profiles import BY_NAME, GENERIC, Profile


def filled(limit: int, order: tuple[str, ...]) -> Counter[str]:
    """Let purposes ask for connections in turn until nobody gets one any more; returns who has how many."""
    held: Counter[str] = Counter()
    while granted := [purpose for purpose in order if limits.may_connect(purpose, held, limit)]:
        held[granted[0]] += 1
    return held


@pytest.mark.parametrize(
    ("limit", "watch", "workers", "bodies"), [(1, 0, 1, 0), (2, 1, 1, 0), (3, 1, 2, 1), (4, 1, 3, 2), (5, 1, 4, 3)]
)
def test_the_table(limit: int, watch: int, workers: int, bodies: int) -> None:
    held = Counter[str]()
    assert limits.may_connect("watch", held, limit) == bool(watch)
    held["watch"] += watch
    assert limits.may_connect("sync", held, limit)
    held["sync"] += 1
    assert limits.body_workers(limit) == bodies
    for _ in range(bodies):
        assert limits.may_connect("bodies", held, limit)
        held["bodies"] += 1
    assert sum(held.values()) == limit
    assert workers == held["sync"] + held["bodies"]
    assert not any(limits.may_connect(purpose, held, limit) for purpose in ("watch", "sync", "replay", "bodies"))


@pytest.mark.parametrize("limit", [2, 3, 5])
@pytest.mark.parametrize("order", list(itertools.permutations(["watch", "sync", "bodies"])))
def test_whoever_comes_first_leaves_the_others_their_connection(limit: int, order: tuple[str, ...]) -> None:
    held = filled(limit, order)
    assert sum(held.values()) == limit
    assert held["watch"] >= 1
    assert limit - held["watch"] >= 1
    if limit > 2:
        assert held["sync"] >= 1


def test_with_one_connection_work_goes_by_turns() -> None:
    for purpose in ("sync", "replay", "bodies"):
        assert limits.may_connect(purpose, {}, 1)
        assert not any(limits.may_connect(other, {purpose: 1}, 1) for other in ("watch", "sync", "replay", "bodies"))


@pytest.mark.parametrize(
    ("chosen", "default", "profile", "crowded", "expected"),
    [
        (None, 2, GENERIC, None, 2),
        (7, 2, GENERIC, None, 7),
        (20, 2, BY_NAME["gmail"], None, 5),
        (5, 2, GENERIC, 1, 1),
        (5, 2, GENERIC, 9, 5),
        (None, 3, BY_NAME["zoho"], None, 3),
    ],
)
def test_the_least_limit_holds(
    chosen: int | None, default: int, profile: Profile, crowded: int | None, expected: int
) -> None:
    assert limits.account_limit(chosen=chosen, default=default, profile=profile, crowded=crowded) == expected


def test_a_host_without_a_limit_has_none() -> None:
    assert limits.host_limit(chosen=None, default=None, profile=GENERIC) is None
    assert limits.host_limit(chosen=None, default=40, profile=GENERIC) == 40
    assert limits.host_limit(chosen=10, default=40, profile=GENERIC) == 10
    assert limits.host_allows("watch", {"watch": 10_000}, None)


def test_watchers_leave_half_of_a_host_to_workers() -> None:
    assert limits.host_allows("watch", {"watch": 4}, 10)
    assert not limits.host_allows("watch", {"watch": 5}, 10)
    assert limits.host_allows("sync", {"watch": 5, "sync": 4}, 10)
    assert not limits.host_allows("sync", {"watch": 5, "sync": 5}, 10)


@pytest.mark.parametrize(
    "text",
    [
        "NO [ALERT] Too many simultaneous connections. (Failure)",
        "NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)",
        "* BYE Too many connections from your address",
        "connection limit reached",
    ],
)
def test_refusals_for_too_many_connections_are_recognised(text: str) -> None:
    assert limits.is_too_many_connections(text)


def test_other_refusals_are_not() -> None:
    assert not limits.is_too_many_connections("NO [AUTHENTICATIONFAILED] Too many failed logins, wrong password")
    assert not limits.is_too_many_connections("NO [UNAVAILABLE] Service temporarily unavailable")
