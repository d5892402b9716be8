"""SIGKILL of the real worker at recorded commit points of a first sync, each resumed by the next worker."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpus import CorpusMailbox, load_corpus, make_corpus
from tests.e2e.crashes import all_points, resume, spread, start_worker, wait_for_death
from tests.e2e.figures import Report
from tests.e2e.mirror import Mirror, differences, imaplib_login, read_with_imaplib
from tests.e2e.system import PASSWORD, System
from tests.fakes.crash_points import CrashControl, CrashPoint
from tests.fakes.recording_proxy import RecordingProxy
from tests.proofs import keep_results, scaled
from tests.servers.dovecot import Dovecot, new_user
from tests.waiting import wait_until

pytestmark = pytest.mark.dovecot

_OWNER = "owner@example.test"
_POINTS = 20
_ALL_POINTS = 10_000
_MESSAGES = 100
_STORED = """
    SELECT mailbox.upstream_name, remote.uid
    FROM mailcache_remote remote
    JOIN mailcache_mailbox mailbox ON mailbox.id = remote.mailbox_id
    JOIN mailcache_account account ON account.id = remote.account_id
    JOIN mailcache_message message ON message.remote_id = remote.id
    WHERE account.address = %s AND message.content_id IS NOT NULL
"""


class Victim:
    """One account of ``_OWNER`` whose first sync is interrupted; all victims have the same mail."""

    def __init__(self, system: System, dovecot: Dovecot, corpus: tuple[CorpusMailbox, ...]) -> None:
        self._system = system
        self._upstream = new_user()
        with dovecot.login(self._upstream) as client:
            load_corpus(client, corpus)
        self.proxy = RecordingProxy(dovecot.host, dovecot.plain_port)
        self.address = ""

    def begin(self) -> None:
        """Make the account known: its first sync begins. Beat does not run, so nobody else asks for one."""
        self.address = self._system.add_account(self._upstream, owner=_OWNER, port=self.proxy.port)

    def stored(self) -> set[tuple[bytes, int]]:
        """Return upstream mailbox name and UID of the messages whose bytes are here."""
        return {(bytes(name), uid) for name, uid in self._system.query(_STORED, self.address)}

    def fetched(self) -> Counter[tuple[bytes, int]]:
        """Return how often the bytes of each message came from the upstream."""
        return Counter((body.mailbox.strip(b'"'), body.uid) for body in self.proxy.fetched_bodies())

    def mirror(self) -> Mirror:
        """Return what a client reads."""
        with imaplib_login(self._system.imap_port, f"{_OWNER}/{self.address}", PASSWORD) as client:
            return read_with_imaplib(client)

    def close(self) -> None:
        """End the proxy."""
        self.proxy.close()


@pytest.fixture(scope="module")
def corpus() -> tuple[CorpusMailbox, ...]:
    """All mailboxes, few messages, one of them large enough to be fetched alone."""
    return make_corpus(messages=_MESSAGES, large_bytes=4_000_000)


@pytest.fixture
def system() -> Iterator[System]:
    with System() as system:
        system.add_user(_OWNER)
        system.start("imap")
        yield system


@pytest.fixture
def control(tmp_path: Path) -> CrashControl:
    return CrashControl(tmp_path / "crash")


def _record(system: System, control: CrashControl, victim: Victim) -> list[str]:
    """Return the places of all commits of one undisturbed first sync."""
    control.record()
    victim.begin()
    system.wait_in_step(victim.address)
    return control.stop_recording()


def test_points_are_spread_over_a_recording() -> None:
    places = ["list", *["skeleton", "headers"] * 5, *["bodies"] * 10, "end"]
    points = all_points(places)
    assert len(set(points)) == 2 * len(places)
    some = spread(points, 8)
    assert {point.place for point in some} == set(places)
    assert len(set(some)) == 8
    assert spread(points, 1000) == points
    assert [str(CrashPoint.parse(str(point))) for point in some] == [str(point) for point in some]


@pytest.mark.prove
@pytest.mark.timeout(scaled(900, full=7200))
def test_every_interrupted_sync_ends_as_an_undisturbed_one(
    system: System, control: CrashControl, dovecot: Dovecot, corpus: tuple[CorpusMailbox, ...], report_figure: Report
) -> None:
    reference = Victim(system, dovecot, corpus)
    start_worker(system, control)
    places = _record(system, control, reference)
    points = spread(all_points(places), scaled(_POINTS, full=_ALL_POINTS))
    assert len(points) >= _POINTS
    expected = reference.mirror()
    assert sum(map(len, expected.values())) == _MESSAGES
    assert max(reference.fetched().values()) == 1
    reference.close()
    again = 0
    outcomes: list[str] = []
    for point in points:
        victim = Victim(system, dovecot, corpus)
        stored = _crash(system, control, victim, point)
        resume(system, control, victim.address)
        repeated = _check(victim, point, stored, expected)
        outcomes.append(
            f"{point}: same end state, nothing stored was fetched twice, {repeated} in flight fetched again"
        )
        again += repeated
        victim.close()
    keep_results("killed_worker", outcomes)
    report_figure(f"{len(points)} kills: {again} bodies in flight were fetched again")


@pytest.mark.timeout(400)
def test_a_killed_worker_is_replaced_without_help(
    system: System, control: CrashControl, dovecot: Dovecot, corpus: tuple[CorpusMailbox, ...], report_figure: Report
) -> None:
    """No operator, no hand on the clock: the lease ends, beat finds the account due, another worker goes on."""
    system.start("beat")
    start_worker(system, control)
    victim = Victim(system, dovecot, corpus)
    _crash(system, control, victim, CrashPoint("sync/storing.py:_store_small", 2, after=True))
    began = time.monotonic()
    start_worker(system, control)
    system.wait_in_step(victim.address, timeout=150)
    report_figure(f"in step {time.monotonic() - began:.0f} s after the next worker started")
    with_all = victim.mirror()
    assert sum(map(len, with_all.values())) == len(victim.stored()) == _MESSAGES
    victim.close()


def _crash(system: System, control: CrashControl, victim: Victim, point: CrashPoint) -> dict[tuple[bytes, int], int]:
    """Have the worker die at ``point``; returns the messages stored by then, and how often each had been fetched."""
    control.arm(point)
    victim.begin()
    wait_for_death(system, control, point)
    wait_until(lambda: not victim.proxy.connections())
    fetched = victim.fetched()
    return {message: fetched[message] for message in victim.stored()}


def _check(victim: Victim, point: CrashPoint, stored: dict[tuple[bytes, int], int], expected: Mirror) -> int:
    """Compare with the undisturbed sync; returns how many messages were fetched again."""
    assert not differences(victim.mirror(), expected), point
    fetched = victim.fetched()
    assert {message: fetched[message] for message in stored} == stored, f"{point}: fetched again although stored"
    assert len(fetched) == len(victim.stored()) == _MESSAGES, point
    assert max(fetched.values()) <= 2, point
    return fetched.total() - len(fetched)
