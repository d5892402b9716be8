"""Model test: clients here and clients there change the same mail while connections fail; both sides converge."""

from __future__ import annotations

import contextlib
import imaplib
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from random import Random
from unittest.mock import patch

import pytest
from django.db.models import QuerySet

from mailcache.errors import MailcacheError
from mailcache.flags import FlagSet, FlagStore, StoreMode
from mailcache.models import Account, Listing, Mailbox, Message, Mutation, MutationKind, MutationState
from mailcache.services.mutation_control import drop_mutations
from mailcache.wire.number_set import NumberSet
from sync.account_run import SliceEnd, run_slice
from sync.lanes import Lane
from sync.replay.run import ReplayEnd, run_replay
from sync.upstream.endpoint import Deadlines
from tests.builders import make_account, message_bytes
from tests.e2e.figures import Report
from tests.fakes.chaos_proxy import ChaosProxy, Kind, random_fault
from tests.proofs import prove_part, scaled
from tests.servers.dovecot import Dovecot
from tests.servers.imap_server import ImapServer, new_user
from tests.sync.histories import Edits
from tests.sync.mirror import differences_from
from tests.sync.replay.hands import LocalHands
from tests.sync.replay.ledger import Ledger, digests_here
from tests.sync.upstreams import HIDDEN, let_time_pass

pytestmark = [pytest.mark.dovecot, pytest.mark.prove]

SEED = 20261125
HISTORIES = scaled(8, full=10_000)
# They run beside each other, and one by itself can be run again: `-k 'converge[7]'`.
PARTS = scaled(2, full=20)
_FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "Later", "$Forwarded")
_NAMES = ("Here", "Here/Below", "There")
_VERBS = ("UID STORE", "APPEND", "UID COPY", "UID MOVE", "UID EXPUNGE", "CREATE", "SELECT", "UID FETCH", "UID SEARCH")
_KINDS = (
    Kind.CUT_BEFORE, Kind.CUT_AFTER, Kind.CUT_AFTER, Kind.CUT_IN_ANSWER, Kind.BYE, Kind.NO, Kind.BAD,
    Kind.HANG, Kind.DROP_REPLY,
)  # fmt: skip
_IMPATIENT = {Lane.SLOW: Deadlines(tls=0.5, login=0.5, inactivity=0.5)}
_ROUNDS = 8


class LocalEdits:
    """Changes by clients of ours. Those that act on messages choose among the ones whose bytes are here."""

    def __init__(self, hands: LocalHands, rng: Random, told: list[str], ledger: Ledger) -> None:
        self._hands = hands
        self._rng = rng
        self._told = told
        self._ledger = ledger

    def make(self, count: int) -> None:
        """Make ``count`` changes."""
        kinds = [self._append, self._store, self._store, self._copy, self._move, self._delete, self._create]
        kinds += [self._rename, self._remove]
        for _ in range(count):
            kind = self._rng.choices(kinds, [6, 3, 3, 3, 3, 3, 2, 1, 1])[0]
            try:
                self._told.append(f"here: {kind()}")
            except MailcacheError as error:
                self._told.append(f"here: {kind.__name__} is refused: {error}")

    def _name(self) -> str:
        rows = Mailbox.objects.present(self._hands.account.pk).filter(selectable=True).exclude(name="Recovered")
        return self._rng.choice(sorted(rows.values_list("name", flat=True)))

    def _some(self, name: str) -> list[Message]:
        rows = list(self._messages(name).filter(content__isnull=False))
        return self._rng.sample(rows, min(len(rows), self._rng.randint(1, 3)))

    def _messages(self, name: str) -> QuerySet[Message]:
        rows = Message.objects.filter(mailbox=self._hands.mailbox(name)).order_by("uid")
        return rows.select_related("content")

    def _append(self) -> str:
        name = self._name()
        messages = [message_bytes(f"{self._rng.random():.9f}") for _ in range(self._rng.choice([1, 1, 3]))]
        flags = self._rng.sample(_FLAGS, 2)
        self._hands.append(*messages, mailbox=name, flags=flags)
        for message in messages:
            self._ledger.made(message, flags)
        return f"append {len(messages)} to {name}"

    def _store(self) -> str:
        name, mode = self._name(), self._rng.choice(list(StoreMode))
        flags, messages = self._rng.sample(_FLAGS, 2), self._some(name)
        uids = _uids(messages)
        self._hands.store(*flags, uids=uids, mailbox=name, mode=mode)
        store = FlagStore(mode, FlagSet.parse(flags))
        for message in messages:
            before = FlagSet.of(message.flags, message.keywords)
            if store.after(before) != before:
                self._ledger.stored_here(_digest(message), store.delta(before))
        return f"store {uids} of {name}: {mode.name} {flags}"

    def _copy(self) -> str:
        name, target = self._name(), self._name()
        messages = self._some(name)
        self._hands.copy(target, source=name, uids=_uids(messages))
        self._ledger.copied(map(_digest, messages))
        return f"copy {_uids(messages)} of {name} to {target}"

    def _move(self) -> str:
        name, target = self._name(), self._name()
        uids = _uids(self._some(name))
        self._hands.move(target, source=name, uids=uids)
        return f"move {uids} of {name} to {target}"

    def _delete(self) -> str:
        name = self._name()
        messages = self._some(name)
        self._hands.delete(mailbox=name, uids=_uids(messages))
        self._ledger.taken(map(_digest, messages))
        return f"delete {_uids(messages)} of {name}"

    def _create(self) -> str:
        name = self._rng.choice(_NAMES)
        self._hands.create(name)
        return f"create {name}"

    def _rename(self) -> str:
        name, other = self._name(), self._rng.choice(_NAMES)
        if name == "INBOX":
            return "nothing"
        self._hands.rename(name, other)
        return f"rename {name} to {other}"

    def _remove(self) -> str:
        name = self._name()
        if name == "INBOX":
            return "nothing"
        messages = [message for message in self._messages(name) if message.content is not None]
        self._hands.remove(name)
        self._ledger.taken(map(_digest, messages))
        return f"remove {name}"


def _uids(messages: Iterable[Message]) -> NumberSet:
    return NumberSet.from_numbers(sorted(message.uid for message in messages))


def _digest(message: Message) -> bytes:
    assert message.content is not None
    return bytes(message.content.sha256)


class History:
    """One user's mail, changed on both sides at random."""

    def __init__(self, number: int, server: ImapServer, proxy: ChaosProxy, user: str, account: Account) -> None:
        self.rng = Random(f"{SEED}/{number}/steps")
        self.server, self.proxy, self.user, self.account = server, proxy, user, account
        self.faults: Counter[Kind] = Counter()
        self.kinds: Counter[str] = Counter()
        self.dropped = 0
        self.ledger = Ledger(account)
        self._told: list[str] = []

    def run(self) -> None:
        """Change, replay and sync by turns, then undisturbed, and compare."""
        hands = LocalHands(self.account)
        with self.server.login(self.user) as client:
            there = Edits(client, self.rng, self._told, self.ledger)
            here = LocalEdits(hands, self.rng, self._told, self.ledger)
            there.make(3)
            hands.sync()
            for _ in range(self.rng.randint(1, 4)):
                here.make(self.rng.randint(1, 5))
                if self.rng.random() < 0.7:
                    for _ in range(self.rng.randint(1, 3)):
                        with contextlib.suppress(AssertionError):  # the mailbox may have gone from here
                            there.make(1)
                self._disturbed()
            try:
                self._settle(client)
            except AssertionError as error:
                raise AssertionError("\n".join([str(error), *self._told])) from error

    def _disturbed(self) -> None:
        if self.rng.random() < 0.7:
            self.proxy.arm(*(random_fault(self.rng, _VERBS, _KINDS) for _ in range(self.rng.randint(1, 2))))
        steps = [self._replay, self._sync]
        self.rng.shuffle(steps)
        for step in steps:
            if self.rng.random() < 0.7:
                with patch.dict("sync.lanes._DEADLINES", _IMPATIENT):
                    self._told.append(step())
        self.faults.update(fault.kind for fault in self.proxy.fired)
        self._told += [str(fault) for fault in self.proxy.fired]
        self.proxy.fired.clear()
        self.proxy.disarm()

    def _replay(self) -> str:
        return f"replayed: {run_replay(self.account.pk, force=True, lane=Lane.SLOW, rng=self.rng).name}"

    def _sync(self) -> str:
        return f"synced: {run_slice(self.account.pk, full=self.rng.random() < 0.7, rng=self.rng).name}"

    def _settle(self, client: imaplib.IMAP4) -> None:
        differ: list[str] = []
        for _ in range(_ROUNDS):
            Mutation.objects.filter(account=self.account).update(next_try_at=self.account.created_at)
            while run_replay(self.account.pk, force=True, lane=Lane.SLOW, rng=self.rng) is ReplayEnd.MORE:
                pass
            self._sync_all()
            parked = Mutation.objects.filter(account=self.account, state=MutationState.PARKED)
            if ids := list(parked.values_list("pk", flat=True)):
                self._told += [f"dropped: {one.kind} {one.last_error}" for one in parked]
                self._drop(ids)
            waiting = [
                f"{one.kind} {one.state} {one.last_error}" for one in Mutation.objects.unsettled(self.account.pk)
            ]
            waiting += [f"no bytes of {one}" for one in Listing.objects.filter(account=self.account)]
            differ = waiting
            if not waiting:
                differ, there = differences_from(client, self.account)
                if not differ:
                    differ = self.ledger.check(there)
                    break
            let_time_pass(self.account, timedelta(days=2))
        if differ:
            raise AssertionError(f"after at most {_ROUNDS} rounds: {differ}")

    def _drop(self, ids: list[int]) -> None:
        """Do what an operator does about parked changes; what goes from here by that was taken away."""
        before = digests_here(self.account)
        stores = Mutation.objects.filter(pk__in=ids, kind=MutationKind.STORE, message__content__isnull=False)
        self.ledger.unsure_of_flags(map(bytes, stores.values_list("message__content__sha256", flat=True)))
        self.dropped += len(ids)
        drop_mutations(account_id=self.account.pk, ids=ids)
        self.ledger.taken((before - digests_here(self.account)).elements())

    def _sync_all(self) -> None:
        end, full = SliceEnd.MORE, True
        for _ in range(20):
            end = run_slice(self.account.pk, full=full, rng=self.rng)
            full = False
            if end not in (SliceEnd.MORE, SliceEnd.AGAIN):
                break
        assert end in (SliceEnd.DONE, SliceEnd.AGAIN), end


class Tally:
    """Runs histories and counts what happened in them."""

    def __init__(self, server: Dovecot) -> None:
        self._server = server
        self.faults: Counter[Kind] = Counter()
        self.checked: Counter[str] = Counter()
        self.dropped = 0

    def attempt(self, number: int) -> None:
        """Run the history of this number."""
        server, tier = self._server, Random(f"{SEED}/{number}").choice(list(HIDDEN))
        with ChaosProxy(server.host, server.plain_port, hidden=HIDDEN[tier]) as proxy:
            user = new_user()
            account = make_account(port=proxy.port, username=user, secret=server.password)
            history = History(number, server, proxy, user, account)
            history.run()
        self.faults += history.faults
        self.checked += history.ledger.checked
        self.dropped += history.dropped

    def lines(self) -> list[str]:
        """Return the counts in words."""
        return [
            f"refused changes dropped at the end: {self.dropped}",
            *(f"checked {what}: {number} messages" for what, number in sorted(self.checked.items())),
            *(f"fault {kind.name}: {number}" for kind, number in sorted(self.faults.items(), key=str)),
        ]


@pytest.mark.timeout(scaled(300, full=4 * 3600))
@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize("part", range(PARTS))
def test_both_sides_converge(
    bare_dovecot: Dovecot, report_figure: Report, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr("sync.connection.reconnect_delay", lambda attempts, rng: timedelta())
    tally, what = Tally(bare_dovecot), f"two-sided histories, seed {SEED}"
    prove_part(
        "two_sided_histories",
        part,
        PARTS,
        HISTORIES,
        tally,
        what=what,
        ended="with both sides the same",
        report=report_figure,
    )
