"""SIGKILL of the real worker at the commits of syncs that take over new mail, flags, expunges, moves, renumbering.

One account, in step before each change. Whatever the moment, the next worker ends with a mirror that equals the
upstream, with every message under its UID, and with nothing stored twice.
"""

from __future__ import annotations

import imaplib
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.builders import message_bytes
from tests.e2e.crashes import all_points, resume, spread, start_worker, wait_for_death
from tests.e2e.figures import Report
from tests.e2e.mirror import differences, imaplib_login, read_with_imaplib
from tests.e2e.system import PASSWORD, System
from tests.fakes.crash_points import CrashControl, CrashPoint
from tests.fakes.recording_proxy import RecordingProxy
from tests.proofs import has_time_left, keep_results, scaled
from tests.servers.dovecot import Dovecot, new_user

pytestmark = [pytest.mark.dovecot, pytest.mark.prove]

_OWNER = "owner@example.test"
_POINTS = 2
_ALL_POINTS = 10_000
_DATE = '"17-May-2024 10:30:00 +0200"'
_NUMBERS, _TURNS = itertools.count(), itertools.count()

_KNOWN = """
    SELECT message.emailid, mailbox.id, message.uid
    FROM mailcache_message message
    JOIN mailcache_mailbox mailbox ON mailbox.id = message.mailbox_id
    JOIN mailcache_account account ON account.id = message.account_id
    WHERE account.address = %s
"""
_STORED = """
    SELECT content.sha256, count(*)
    FROM mailcache_content content
    JOIN mailcache_account account ON account.id = content.account_id
    WHERE account.address = %s GROUP BY content.sha256
"""
# A mailbox that is renumbered over and over is left alone for a while (sync.guards); here a day passes every time.
_A_DAY_LATER = """
    UPDATE sync_checkpoint SET uidvalidity_changes = 0, uidvalidity_changed_at = NULL, retry_at = NULL
    WHERE account_id = (SELECT id FROM mailcache_account WHERE address = %s)
"""


def _append(client: imaplib.IMAP4, mailbox: str, count: int, lines: int = 3) -> None:
    for _ in range(count):
        message = message_bytes(f"number {next(_NUMBERS)}", "some words\r\n" * lines)
        assert client.append(mailbox, "(Work)", _DATE, message)[0] == "OK"


def _new_mail(client: imaplib.IMAP4) -> None:
    _append(client, "INBOX", 6)
    _append(client, "Lists", 3)
    _append(client, "Lists", 1, lines=300_000)


def _flags(client: imaplib.IMAP4) -> None:
    # In turn, so that each time something changes.
    operation = "-FLAGS" if next(_TURNS) % 2 else "+FLAGS"
    for mailbox in ("INBOX", "Lists"):
        client.select(mailbox)
        client.store("1:4", operation, "(\\Seen Later)")
        client.store("5", operation, "(\\Flagged)")
    client.unselect()


def _expunges(client: imaplib.IMAP4) -> None:
    for mailbox in ("INBOX", "Lists"):
        _append(client, mailbox, 2)
        client.select(mailbox)
        client.store("2:3", "+FLAGS", "(\\Deleted)")
        client.expunge()
    client.unselect()


def _moves(client: imaplib.IMAP4) -> None:
    client.select("INBOX")
    client.uid("MOVE", client.uid("SEARCH", "1:2")[1][0].decode().replace(" ", ","), "Moved")
    client.select("Moved")
    client.uid("MOVE", client.uid("SEARCH", "1")[1][0].decode(), "INBOX")
    client.unselect()


def _renumbering(client: imaplib.IMAP4) -> None:
    client.rename("Lists", "Aside")
    client.create("Lists")
    client.select("Aside")
    client.copy("1:*", "Lists")
    client.unselect()
    client.delete("Aside")


CHANGES: dict[str, Callable[[imaplib.IMAP4], None]] = {
    "new mail": _new_mail,
    "flags": _flags,
    "expunges": _expunges,
    "moves": _moves,
    "renumbering": _renumbering,
}


class Changing:
    """One account that is changed upstream, and synced by workers that die."""

    def __init__(self, system: System, control: CrashControl, dovecot: Dovecot, proxy: RecordingProxy) -> None:
        self._system, self._control, self._dovecot, self._proxy = system, control, dovecot, proxy
        self._user = new_user()
        with dovecot.login(self._user) as client:
            for mailbox in ("Lists", "Moved"):
                client.create(mailbox)
            for mailbox in ("INBOX", "Lists", "Moved"):
                _append(client, mailbox, 12)
        self.address = system.add_account(self._user, owner=_OWNER, port=proxy.port)
        system.wait_in_step(self.address)

    def record(self, change: Callable[[imaplib.IMAP4], None]) -> list[str]:
        """Return the places of all commits of one undisturbed sync of a change."""
        self._make(change)
        self._control.record()
        self._system.sync(self.address)
        return self._control.stop_recording()

    def die_and_go_on(self, change: Callable[[imaplib.IMAP4], None], point: CrashPoint) -> str:
        """Have the worker die when it takes over a change; returns what came of it, in words."""
        known, bodies = self._known(), len(self._proxy.fetched_bodies())
        self._make(change)
        self._control.arm(point)
        self._system.manage("force_sync", "--account-email", self.address)
        wait_for_death(self._system, self._control, point)
        stored = sum(self._stored().values())
        resume(self._system, self._control, self.address)
        return self._outcome(point, known, bodies, stored)

    def _make(self, change: Callable[[imaplib.IMAP4], None]) -> None:
        self._system.query(_A_DAY_LATER, self.address)
        with self._dovecot.login(self._user) as client:
            change(client)

    def _outcome(self, point: CrashPoint, known: dict[str, tuple[int, int]], bodies: int, stored: int) -> str:
        with (
            imaplib_login(self._system.imap_port, f"{_OWNER}/{self.address}", PASSWORD) as ours,
            self._dovecot.login(self._user) as theirs,
        ):
            assert not differences(read_with_imaplib(ours), read_with_imaplib(theirs)), point
        twice = [digest for digest, count in self._stored().items() if count > 1]
        assert not twice, f"{point}: stored twice"
        now = self._known()
        elsewhere = {
            key for key in known.keys() & now.keys() if known[key][0] == now[key][0] and known[key] != now[key]
        }
        assert not elsewhere, f"{point}: other UIDs for {elsewhere}"
        fetched = Counter((body.mailbox, body.uid) for body in self._proxy.fetched_bodies()[bodies:])
        again = fetched.total() - len(fetched)
        return f"{point}: in step, UIDs kept, nothing twice; {stored} bodies here when killed, {again} fetched again"

    def _known(self) -> dict[str, tuple[int, int]]:
        return {key: (mailbox, uid) for key, mailbox, uid in self._system.query(_KNOWN, self.address)}

    def _stored(self) -> dict[bytes, int]:
        return {bytes(digest): count for digest, count in self._system.query(_STORED, self.address)}


@pytest.fixture
def changing(tmp_path: Path, bare_dovecot: Dovecot) -> Iterator[Changing]:
    control = CrashControl(tmp_path / "crash")
    with RecordingProxy(bare_dovecot.host, bare_dovecot.plain_port) as proxy, System() as system:
        system.add_user(_OWNER)
        system.start("imap")
        start_worker(system, control)
        yield Changing(system, control, bare_dovecot, proxy)


@pytest.mark.timeout(scaled(900, full=7200))
def test_a_sync_of_changes_may_be_killed_at_any_commit(changing: Changing, report_figure: Report) -> None:
    told: list[str] = []
    found, began = 0, time.monotonic()
    for name, change in CHANGES.items():
        points = all_points(changing.record(change))
        assert len(points) >= 10
        found += len(points)
        for point in spread(points, scaled(_POINTS, full=_ALL_POINTS)):
            if has_time_left(began):
                told.append(f"{name}: {changing.die_and_go_on(change, point)}")
    keep_results("killed_changes", told)
    report_figure(f"{len(told)} kills of {found} that are possible, each followed by the same mail under the same UIDs")
