"""Where a real worker is killed, and how the next one goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.e2e.system import System
from tests.fakes.crash_points import CrashControl, CrashPoint
from tests.waiting import wait_until

_INCLUDE = ("--include", "tests.fakes.crash_points", "--concurrency", "1")
# What thirty seconds would do: the lease and the connection slots of a worker that is gone end.
_END_LEASES = """
    WITH slots AS (DELETE FROM sync_connectionslot
                   WHERE account_id = (SELECT id FROM mailcache_account WHERE address = %s))
    UPDATE mailcache_lease SET expires_at = clock_timestamp()
    WHERE account_id = (SELECT id FROM mailcache_account WHERE address = %s)
"""


def start_worker(system: System, control: CrashControl) -> None:
    """Start a worker that can be told to die."""
    system.start("worker", arguments=_INCLUDE, environment=control.environment)


def all_points(places: Sequence[str]) -> list[CrashPoint]:
    """Return both sides of every commit of a recorded sync, in their order."""
    counts: Counter[str] = Counter()
    points: list[CrashPoint] = []
    for place in places:
        counts[place] += 1
        points += [CrashPoint(place, counts[place], after=after) for after in (False, True)]
    return points


def spread(points: Sequence[CrashPoint], wanted: int) -> list[CrashPoint]:
    """Return at most ``wanted`` of them, spread over the recording: every place at least once, as far as that goes."""
    firsts = list({point.place: point for point in reversed(points)}.values())[:wanted]
    rest = [point for point in points if point not in firsts]
    missing = min(wanted - len(firsts), len(rest))
    firsts += [rest[index * len(rest) // missing] for index in range(missing)]
    return sorted(firsts, key=points.index)


def wait_for_death(system: System, control: CrashControl, point: CrashPoint) -> None:
    """Return when the worker has died at ``point``; its lease has not ended yet."""
    wait_until(lambda: not system.process("worker").alive(), 120)
    system.kill("worker")
    assert control.disarm(), f"the worker died before {point}"


def resume(system: System, control: CrashControl, address: str) -> None:
    """Let another worker finish what the dead one had begun."""
    start_worker(system, control)
    since = system.now()
    system.query(_END_LEASES, address, address)
    system.manage("force_sync", "--account-email", address)
    system.wait_in_step(address, since=since)
