"""Model test: whatever happens upstream and to the connection, in the end the mirror is what the upstream is."""

from __future__ import annotations

import imaplib
from collections import Counter
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from mailcache.models import Account, Listing, Mailbox, Message
from sync.account_run import SliceEnd, run_slice
from sync.upstream.blocking import BlockingClient
from sync.upstream.endpoint import Credentials, Deadlines, Endpoint
from tests.builders import make_account
from tests.e2e.figures import Report
from tests.fakes.chaos_proxy import ChaosProxy, Kind, random_fault
from tests.fakes.recording_proxy import Command
from tests.proofs import prove_part, scaled
from tests.servers.cyrus import Cyrus
from tests.servers.dovecot import Dovecot
from tests.servers.imap_server import ImapServer, new_user
from tests.sync.histories import Edits
from tests.sync.mirror import differences_from
from tests.sync.upstreams import HIDDEN, OVERHEAD, let_time_pass

pytestmark = [pytest.mark.dovecot, pytest.mark.prove]

SEED = 20260704
HISTORIES = scaled(16, full=10_000)
# They run beside each other, and one by itself can be run again: `-k 'in_step[7]'`.
PARTS = scaled(4, full=20)
_CYRUS_SHARE = 0.25
# Counting what an undisturbed sync asks costs three more of them.
_COUNTED_SHARE = 0.25
# How long the sync waits where an answer will not come, and where it will, however busy the machine is.
_IN_VAIN, _PATIENT = 0.3, 60.0
_VERBS = ("LIST", "EXAMINE", "EXAMINE", "UID SEARCH", "UID FETCH", "UID FETCH", "STATUS")
_CUTS = (Kind.CUT_BEFORE, Kind.CUT_AFTER, Kind.CUT_IN_ANSWER, Kind.CUT_IN_LITERAL, Kind.BYE)
_KINDS = (*_CUTS, *_CUTS, Kind.NO, Kind.NO, Kind.BAD, Kind.DROP_REPLY, Kind.HANG)
# A sync that nothing disturbs: what a mailbox costs of which nothing changed, and one of which something did.
_UNCHANGED, _CHANGED = 1, 8
# An empty mailbox is believed when it was seen twice and some time apart; a deleted one, too; flags are polled.
_SIGHTS = 4


class History:
    """One user's mail, edited at random, and its mirror, synced through a connection that fails at random."""

    patience = _PATIENT
    """In seconds, of connections that are opened from now on."""

    def __init__(self, number: int, server: ImapServer, proxy: ChaosProxy, user: str, account: Account) -> None:
        self.rng = Random(f"{SEED}/{number}/steps")
        self.server, self.proxy, self.user, self.account = server, proxy, user, account
        self.ends: Counter[SliceEnd] = Counter()
        self.faults: Counter[Kind] = Counter()
        self._told: list[str] = []
        self._served: dict[tuple[int, int], bytes] = {}

    def run(self) -> None:
        """Edit and sync by turns, then sync undisturbed, and compare."""
        with self.server.login(self.user) as client:
            edits = Edits(client, self.rng, self._told)
            for _ in range(self.rng.randint(1, 4)):
                edits.make(self.rng.randint(1, 5))
                self._disturbed_slice()
                self._check_served()
            try:
                self._settle(client)
                if self.rng.random() < _COUNTED_SHARE:
                    self._count_commands(edits)
                    self._settle(client)
                self._check_served()
            except AssertionError as error:
                raise AssertionError("\n".join([str(error), *self._told])) from error

    def _disturbed_slice(self) -> None:
        if self.rng.random() < 0.8:
            faults = [random_fault(self.rng, _VERBS, _KINDS) for _ in range(self.rng.randint(1, 3))]
            self.proxy.arm(*faults)
            if any(fault.kind in (Kind.HANG, Kind.DROP_REPLY) for fault in faults):
                History.patience = _IN_VAIN
        full, seconds = self.rng.random() < 0.8, self.rng.choice([0.0, 0.01, 20.0, 20.0])
        self.ends[run_slice(self.account.pk, full=full, seconds=seconds, rng=self.rng)] += 1
        self.faults.update(fault.kind for fault in self.proxy.fired)
        self._told += [*map(str, self.proxy.fired), "synced"]
        self.proxy.fired.clear()
        self.proxy.disarm()
        History.patience = _PATIENT
        if self.rng.random() < 0.5:
            let_time_pass(self.account)

    def _sync(self) -> list[Command]:
        before = len(self.proxy.commands())
        full, end = True, SliceEnd.MORE
        for _ in range(20):
            end = run_slice(self.account.pk, full=full, rng=self.rng)
            full = False
            if end not in (SliceEnd.MORE, SliceEnd.AGAIN):
                break
        assert end is SliceEnd.DONE
        return [command for command in self.proxy.commands()[before:] if command.verb not in OVERHEAD]

    def _settle(self, client: imaplib.IMAP4) -> None:
        """Sync, again when time has passed where something is believed at second sight, until both are the same."""
        for _ in range(_SIGHTS):
            self._sync()
            differ = [f"no bytes of {listing}" for listing in Listing.objects.filter(account=self.account)]
            differ = differ or differences_from(client, self.account)[0]
            if not differ:
                return
            let_time_pass(self.account, timedelta(days=2))
        raise AssertionError(f"after {_SIGHTS} syncs: {differ}")

    def _check_served(self) -> None:
        """What a client has once been given under a UID stays what it is."""
        rows = Message.objects.filter(account=self.account, content__isnull=False)
        for mailbox_id, uid, digest in rows.values_list("mailbox_id", "uid", "content__sha256"):
            assert self._served.setdefault((mailbox_id, uid), bytes(digest)) == bytes(digest), (mailbox_id, uid)

    def _count_commands(self, edits: Edits) -> None:
        mailboxes = Mailbox.objects.filter(account=self.account).count()
        commands = self._sync()
        assert len(commands) <= mailboxes * _UNCHANGED, commands
        edits.touched.clear()
        edits.make(2)
        commands = self._sync()
        assert len(commands) <= mailboxes * _UNCHANGED + len(edits.touched) * _CHANGED, commands


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the sync wait for no upstream that hangs, and no broken connection, longer than a test can afford."""
    connect = BlockingClient.connect

    def hastily(endpoint: Endpoint, credentials: Credentials, deadlines: object = None, **options: Any) -> Any:
        seconds = History.patience
        short = Deadlines(greeting=seconds, login=seconds, command=60, inactivity=seconds)
        return connect(endpoint, credentials, short, **options)

    monkeypatch.setattr(BlockingClient, "connect", staticmethod(hastily))
    monkeypatch.setattr("sync.connection.reconnect_delay", lambda attempts, rng: timedelta())


class Tally:
    """Runs histories and counts what happened in them."""

    def __init__(self, dovecot: Dovecot, cyrus: Cyrus) -> None:
        self._dovecot, self._cyrus = dovecot, cyrus
        self.ends: Counter[SliceEnd] = Counter()
        self.faults: Counter[Kind] = Counter()
        self.kinds: Counter[str] = Counter()

    def attempt(self, number: int) -> None:
        """Run the history of this number."""
        rng = Random(f"{SEED}/{number}")
        server: ImapServer = self._cyrus if rng.random() < _CYRUS_SHARE else self._dovecot
        tier = rng.choice(list(HIDDEN))
        with ChaosProxy(server.host, server.plain_port, hidden=HIDDEN[tier]) as proxy:
            user = new_user()
            account = make_account(port=proxy.port, username=user, secret=server.password)
            history = History(number, server, proxy, user, account)
            history.run()
        self.kinds[f"{type(server).__name__} {tier}"] += 1
        self.ends += history.ends
        self.faults += history.faults

    def lines(self) -> list[str]:
        """Return the counts in words."""
        return [
            *(f"upstream {kind}: {count}" for kind, count in sorted(self.kinds.items())),
            *(f"disturbed slice ended {end.name}: {count}" for end, count in sorted(self.ends.items(), key=str)),
            *(f"fault {kind.name}: {count}" for kind, count in sorted(self.faults.items(), key=str)),
        ]


@pytest.mark.timeout(scaled(300, full=4 * 3600))
@pytest.mark.usefixtures("_hasty", "transactional_db")
@pytest.mark.parametrize("part", range(PARTS))
def test_every_history_ends_in_step(bare_dovecot: Dovecot, bare_cyrus: Cyrus, report_figure: Report, part: int) -> None:
    tally, what = Tally(bare_dovecot, bare_cyrus), f"histories, seed {SEED}"
    prove_part(
        "histories", part, PARTS, HISTORIES, tally, what=what, ended="with the mirror in step", report=report_figure
    )
