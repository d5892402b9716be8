"""Kills during writes: where they are possible, and one attempt at each of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from enum import Enum

from tests.e2e.crashes import all_points
from tests.e2e.nursery import Child
from tests.e2e.write_bench import LACKS, Bench, End, Lane, Victim
from tests.e2e.write_scenarios import SCENARIOS
from tests.e2e.write_upstreams import Seen
from tests.fakes.crash_points import CrashPoint
from tests.fakes.deadly_proxy import Boundary, Place
from tests.waiting import wait_until

_SESSION = frozenset({"CAPABILITY", "LOGIN", "ENABLE", "ID", "NAMESPACE", "LOGOUT"})
_READING = frozenset({"STATUS", "SELECT", "EXAMINE", "LIST", "LSUB", "UID FETCH", "UID SEARCH", "NOOP"})
# Within a command that changes nothing one moment is like the other.
_IN_READING = frozenset({Place.UNSENT, Place.IN_ANSWER, Place.TOLD})
_IN_SESSION = frozenset({Place.UNSENT, Place.TOLD})
_SESSION_SCENARIO = "STORE"


class Who(Enum):
    """What is killed, and when."""

    WORKER = "worker"
    FRONTEND = "frontend"
    POSTGRES_IN_REPLAY = "PostgreSQL, while the worker replays,"
    POSTGRES_IN_ACCEPT = "PostgreSQL, while the client writes,"


_PLACES = {
    Who.WORKER: Who.WORKER,
    Who.FRONTEND: Who.FRONTEND,
    Who.POSTGRES_IN_REPLAY: Who.WORKER,
    Who.POSTGRES_IN_ACCEPT: Who.FRONTEND,
}
"""Whose commits and boundaries it is about."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill."""

    scenario: str
    mode: str
    who: Who
    at: CrashPoint | Boundary

    def __str__(self) -> str:
        at = self.at
        if isinstance(at, CrashPoint):
            where = f"{'behind' if at.after else 'before'} COMMIT {at.number} of {at.place}"
        else:
            where = f"at {at}"
        return f"{self.scenario} ({self.mode}): {self.who.value} killed {where}"


@dataclass(slots=True)
class Undisturbed:
    """How a scenario goes when nothing is killed."""

    accepted: list[Seen]
    """What our clients see after none, one, two … of its commands."""
    end: End
    kills: list[Kill] = field(default_factory=list)


def play(bench: Bench, lane: Lane, scenario: str, mode: str) -> Undisturbed:
    """Play a scenario undisturbed; returns how it goes, and all kills that are possible."""
    victim, acts = Victim(bench, lane, mode), SCENARIOS[scenario]
    accepting, replaying = bench.control(), bench.control()
    accepting.record()
    frontend = bench.begin_frontend(lane, accepting.directory)
    accepted = [victim.seen()]
    lane.frontend.watch()
    victim.accept(acts, port=lane.frontend.port, after_each=lambda: accepted.append(victim.seen()))
    assert len(accepted) == len(acts) + 1, f"{scenario}: not all was accepted"
    frontend.kill()
    frontend.wait()
    replaying.record()
    victim.proxy.watch()
    assert victim.begin_replay(directory=replaying.directory).result() == "DONE"
    replayed = victim.proxy.passed()
    end = victim.finish()
    end.check(end)
    commits = {
        Who.WORKER: all_points(replaying.stop_recording()),
        Who.FRONTEND: all_points(accepting.stop_recording()),
    }
    boundaries = {Who.WORKER: replayed, Who.FRONTEND: lane.frontend.passed()}
    kills: list[Kill] = []
    for who, under in _PLACES.items():
        # What is missing upstream is nothing to a frontend, nor to PostgreSQL.
        if mode != LACKS or who is Who.WORKER:
            kills += [Kill(scenario, mode, who, at) for at in commits[under]]
            if who is under:
                kills += [Kill(scenario, mode, who, at) for at in boundaries[who] if _counts(at, scenario)]
    return Undisturbed(accepted, end, kills)


def _counts(boundary: Boundary, scenario: str) -> bool:
    if boundary.verb in _SESSION:
        return scenario == _SESSION_SCENARIO and boundary.place in _IN_SESSION and boundary.verb != "LOGOUT"
    return boundary.verb not in _READING or boundary.place in _IN_READING


class Attempt(ABC):
    """One kill: ``begin``, then ``wait`` for it, then ``end`` checks what became of everything."""

    def __init__(self, bench: Bench, lane: Lane, kill: Kill, undisturbed: Undisturbed) -> None:
        self.kill = kill
        self._bench = bench
        self._lane = lane
        self._undisturbed = undisturbed
        self._acts = SCENARIOS[kill.scenario]
        self._victim = Victim(bench, lane, kill.mode)
        self._control = bench.control()
        if isinstance(kill.at, CrashPoint):
            self._control.arm(kill.at)

    @abstractmethod
    def begin(self) -> None:
        """Let it come."""

    @abstractmethod
    def wait(self) -> None:
        """Return when whoever met the kill is dead, or has seen the death of PostgreSQL."""

    @abstractmethod
    def end(self) -> str:
        """Bring everything to its end, and compare it with the undisturbed one; returns what was found, in words."""

    def is_at_commit(self) -> bool:
        """Tell whether the armed COMMIT has come."""
        return self._control.has_crashed()

    @property
    def address(self) -> str:
        """The login of the account."""
        return self._victim.address

    @property
    def _postmaster(self) -> int:
        return self._bench.postmaster if self.kill.who in (Who.POSTGRES_IN_REPLAY, Who.POSTGRES_IN_ACCEPT) else 0

    def _check_end(self) -> None:
        self._victim.finish().check(self._undisturbed.end)


class ReplayAttempt(Attempt):
    """The worker, or PostgreSQL under it."""

    def begin(self) -> None:
        """Have everything accepted, and a worker begin."""
        accepted = self._victim.accept(self._acts)
        assert accepted == len(self._acts), f"only {accepted} of {len(self._acts)} commands were accepted"
        child: Future[Child] = Future()
        self._victim.proxy.watch()
        if isinstance(self.kill.at, Boundary):
            self._victim.proxy.arm(self.kill.at, lambda: child.result().kill())
        self._child = self._victim.begin_replay(directory=self._control.directory, postmaster=self._postmaster)
        child.set_result(self._child)

    def wait(self) -> None:
        """Return when the worker has ended."""
        self._child.wait()

    def end(self) -> str:
        """Let the next worker go on."""
        if not (self.is_at_commit() or self._victim.proxy.has_fired):
            told = self._child.result() if self._child.has_result() else self._bench.nursery.last_words()
            raise AssertionError(f"the worker did not come there, it ended with {told}")
        self._check_end()
        return "upstream and mirror as undisturbed"


class AcceptAttempt(Attempt):
    """The frontend, or PostgreSQL under it."""

    def __init__(self, bench: Bench, lane: Lane, kill: Kill, undisturbed: Undisturbed, clients: Executor) -> None:
        super().__init__(bench, lane, kill, undisturbed)
        self._clients = clients

    def begin(self) -> None:
        """Start a frontend, and have a client write."""
        lane, postmaster = self._lane, self._postmaster
        self._child = self._bench.begin_frontend(lane, self._control.directory, postmaster=postmaster)
        lane.frontend.watch()
        if isinstance(self.kill.at, Boundary):
            lane.frontend.arm(self.kill.at, self._child.kill)
        self._done = self._clients.submit(self._victim.accept, self._acts, port=lane.frontend.port)

    def wait(self) -> None:
        """Return when the client has given up."""
        self._done.result()
        self._child.kill()
        self._child.wait()

    def end(self) -> str:
        """Look at what is there, do the rest, and have it replayed."""
        wait_until(lambda: self.is_at_commit() or self._lane.frontend.has_fired)
        done = self._done.result()
        accepted, seen = self._undisturbed.accepted, self._victim.seen()
        if not seen.unlike(accepted[done]):
            told = "what was answered is there, and nothing else"
        else:
            done += 1
            told = "what was not answered is there"
            assert done < len(accepted), seen.unlike(accepted[-1])
            assert not seen.unlike(accepted[done]), seen.unlike(accepted[done])
        rest = self._acts[done:]
        more = self._victim.accept(rest)
        assert more == len(rest), f"only {more} of the {len(rest)} commands that were left were accepted"
        self._check_end()
        return f"{told}; upstream and mirror as undisturbed"
