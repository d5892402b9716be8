"""SIGKILL of the worker, the frontend and PostgreSQL while clients write and while that is replayed upstream.

Whatever is killed at whichever commit, and at whichever place on the wire: the end is that of the undisturbed run, in
the upstream and in the mirror. No message is lost, none doubled, none changed that was not meant; what was answered
with OK is there, and what was not is there as a whole or not at all.
"""

from __future__ import annotations

import imaplib
import queue
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from random import Random

import pytest

from tests.e2e.figures import Report
from tests.e2e.killed_writes import AcceptAttempt, Attempt, Kill, ReplayAttempt, Undisturbed, Who, play
from tests.e2e.write_bench import FULL, GMAIL, LACKS, Bench, Lane, open_bench
from tests.e2e.write_scenarios import AT_GMAIL, SCENARIOS
from tests.fakes.crash_points import CrashPoint
from tests.proofs import PROVING, has_time_left, keep_results, scaled
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

pytestmark = [pytest.mark.dovecot, pytest.mark.prove]

SEED = 20261125
_LANES = 12
_SAMPLE = {Who.WORKER: 8, Who.FRONTEND: 4, Who.POSTGRES_IN_REPLAY: 2, Who.POSTGRES_IN_ACCEPT: 2}
_SAMPLED_SCENARIOS = 2
_LEAST = 500
# Without those extensions only these are done differently.
_WHERE_LACKING = (
    "APPEND", "MULTIAPPEND", "COPY", "MOVE", "MOVE beside others' marks", "EXPUNGE",
    "UID EXPUNGE beside others' marks", "one after the other",
)  # fmt: skip
_PLAYS = {
    "killed_writes": [
        *((name, FULL) for name in SCENARIOS if name not in AT_GMAIL),
        *((name, LACKS) for name in _WHERE_LACKING),
    ],
    "killed_writes_at_gmail": [(name, GMAIL) for name in AT_GMAIL],
}
"""What is played, by the name of the file that gets the results."""
_IN_POSTGRES = (Who.POSTGRES_IN_REPLAY, Who.POSTGRES_IN_ACCEPT)
# Until then all that die with PostgreSQL have come to their commits, unless one holds up another.
_COMMIT_SECONDS = 20.0
_FAILURES = (AssertionError, OSError, imaplib.IMAP4.error)


class Sweep:
    """All kills that were chosen, several at a time, and their outcomes."""

    def __init__(self, bench: Bench, lanes: Sequence[Lane], executor: Executor, clients: Executor) -> None:
        self._bench = bench
        self._executor = executor
        self._clients = clients
        self._undisturbed: dict[tuple[str, str], Undisturbed] = {}
        self._lanes: queue.SimpleQueue[Lane] = queue.SimpleQueue()
        for lane in lanes:
            self._lanes.put(lane)
        self.outcomes: dict[Kill, str] = {}
        self.failures: list[str] = []

    def play(self, plays: Sequence[tuple[str, str]]) -> list[Kill]:
        """Play scenarios undisturbed; returns all kills that are possible."""
        with self._all_lanes() as lanes:
            for start in range(0, len(plays), len(lanes)):
                some = plays[start : start + len(lanes)]
                played = self._executor.map(self._play, lanes[: len(some)], some)
                self._undisturbed.update(zip(some, played, strict=True))
        return [kill for key in plays for kill in self._undisturbed[key].kills]

    def carry_out(self, kills: Sequence[Kill], rng: Random) -> None:
        """Kill at all of these in any order, PostgreSQL first: what is ended early is a sample."""
        began = time.monotonic()
        waiting = [kill for kill in kills if kill.who in _IN_POSTGRES]
        while waiting and has_time_left(began):
            self._with_postgres(_together(waiting, _LANES))
            # Those that were held up by others come again.
            waiting = [kill for kill in waiting if kill not in self.outcomes]
        alone = [kill for kill in kills if kill.who not in _IN_POSTGRES]
        list(self._executor.map(lambda kill: self._alone(kill, began), rng.sample(alone, len(alone))))

    def _play(self, lane: Lane, key: tuple[str, str]) -> Undisturbed:
        return play(self._bench, lane, *key)

    def _alone(self, kill: Kill, began: float) -> None:
        if not has_time_left(began):
            return
        lane = self._lanes.get()
        try:
            attempt = self._attempt(lane, kill)
            attempt.begin()
            attempt.wait()
            self._end(attempt)
        except _FAILURES as error:
            self._failed(kill, error)
        finally:
            self._lanes.put(lane)

    def _with_postgres(self, kills: Sequence[Kill]) -> None:
        """Have several come to their commits, and kill PostgreSQL under them all."""
        with self._all_lanes() as lanes:
            made = list(self._executor.map(self._attempt, lanes[: len(kills)], kills))
            for attempt in made:
                attempt.begin()
                if _holds_up_others(attempt.kill):
                    wait_until(attempt.is_at_commit, _COMMIT_SECONDS)
            deadline = time.monotonic() + _COMMIT_SECONDS
            wait_until(lambda: all(one.is_at_commit() for one in made) or time.monotonic() > deadline, 60)
            struck = [attempt for attempt in made if attempt.is_at_commit()]
            assert struck, f"nothing came to its commit: {', '.join(map(str, kills))}"
            self._bench.kill_postgres()
            for attempt in made:
                attempt.wait()
            self._bench.restart_postgres()
            wait_until(lambda: self._bench.serves(struck[0].address), 60)
            list(self._executor.map(self._end, struck))

    def _attempt(self, lane: Lane, kill: Kill) -> Attempt:
        undisturbed = self._undisturbed[kill.scenario, kill.mode]
        if kill.who in (Who.WORKER, Who.POSTGRES_IN_REPLAY):
            return ReplayAttempt(self._bench, lane, kill, undisturbed)
        return AcceptAttempt(self._bench, lane, kill, undisturbed, self._clients)

    def _end(self, attempt: Attempt) -> None:
        try:
            self.outcomes[attempt.kill] = attempt.end()
        except _FAILURES as error:
            self._failed(attempt.kill, error)

    def _failed(self, kill: Kill, error: Exception) -> None:
        self.outcomes[kill] = f"FAILED: {type(error).__name__}: {error}".replace("\n", " ")
        self.failures.append(f"{kill}: {self.outcomes[kill]}")

    @contextmanager
    def _all_lanes(self) -> Iterator[list[Lane]]:
        lanes = [self._lanes.get() for _ in range(_LANES)]
        try:
            yield lanes
        finally:
            for lane in lanes:
                self._lanes.put(lane)


def _holds_up_others(kill: Kill) -> bool:
    """Tell whether others wait for the one that stands before this COMMIT: connections are counted by host."""
    return isinstance(kill.at, CrashPoint) and not kill.at.after and kill.at.place.startswith("sync/connection.py")


def _together(kills: Sequence[Kill], most: int) -> list[Kill]:
    """Return some that can be at their commits at the same time; one that holds up others comes last."""
    free = [kill for kill in kills if not _holds_up_others(kill)]
    return [*free[: most - 1], *[kill for kill in kills if _holds_up_others(kill)][:1]] or list(kills[:most])


def _sample(kills: Sequence[Kill], rng: Random) -> list[Kill]:
    some = [
        kill for who, most in _SAMPLE.items() for kill in _draw([one for one in kills if one.who is who], most, rng)
    ]
    return sorted(some, key=kills.index)


def _draw(kills: Sequence[Kill], most: int, rng: Random) -> list[Kill]:
    return rng.sample(kills, min(most, len(kills)))


@pytest.fixture
def sweep(bare_dovecot: Dovecot) -> Iterator[Sweep]:
    with ExitStack() as stack:
        bench = stack.enter_context(open_bench(bare_dovecot))
        executor, clients = (stack.enter_context(ThreadPoolExecutor(_LANES)) for _ in range(2))
        lanes = [stack.enter_context(closing(Lane(bare_dovecot))) for _ in range(_LANES)]
        yield Sweep(bench, lanes, executor, clients)


@pytest.mark.timeout(scaled(600, full=7200))
@pytest.mark.parametrize("name", _PLAYS)
def test_every_kill_ends_as_the_undisturbed_run(sweep: Sweep, report_figure: Report, name: str) -> None:
    rng, plays = Random(SEED), _PLAYS[name]
    possible = sweep.play(plays if PROVING else rng.sample(plays, _SAMPLED_SCENARIOS))
    assert len(set(possible)) == len(possible)
    kills = possible if PROVING else _sample(possible, rng)
    assert len(kills) >= scaled(sum(_SAMPLE.values()), full=_LEAST)
    sweep.carry_out(kills, rng)
    done = [kill for kill in kills if kill in sweep.outcomes]
    keep_results(name, [f"{number}. {kill}: {sweep.outcomes[kill]}" for number, kill in enumerate(done, 1)])
    assert not sweep.failures, "\n".join(sweep.failures)
    figures = ", ".join(f"{who.name.lower()} {count}" for who, count in Counter(kill.who for kill in done).items())
    report_figure(
        f"seed {SEED}: {len(done)} kills of {len(possible)} that are possible ({figures}): all as undisturbed"
    )
