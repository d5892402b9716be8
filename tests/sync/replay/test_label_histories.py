"""Random histories at Gmail: clients here, people on the web, and connections that are cut; both sides end up alike."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from django.utils import timezone

from mailcache.flags import StoreMode
from mailcache.models import Mutation
from mailcache.wire.number_set import NumberSet
from tests.builders import message_bytes
from tests.fakes.chaos_proxy import Fault, Kind
from tests.fakes.gmail import Place
from tests.sync.mirror import differences
from tests.sync.replay.gmail import ALL, DRAFTS, INBOX, SPAM, TRASH, GmailHands

_LABELS = [INBOX, "Work", "Family"]
_MAILBOXES = [*_LABELS, ALL, TRASH, SPAM, DRAFTS]
_GMAIL_LABELS = ["\\Inbox", "Work", "Family"]
_FLAGS = ["\\Seen", "\\Answered", "kept"]
_STEPS = 25
_HISTORIES = int(os.environ.get("LABEL_HISTORIES", "4"))


class _History:
    """One history. The first message of every mailbox stays as it is, so that none is ever found empty."""

    def __init__(self, hands: GmailHands, seed: int) -> None:
        self.hands = hands
        self.rng = Random(seed)
        self.told: list[str] = []
        self.appended: list[bytes] = []
        self.deleted: set[bytes] = set()
        account = hands.gmail.account
        account.create_label("Family")
        self.fixed = {account.deliver(message_bytes("fixed"), [*_GMAIL_LABELS, "\\Draft"])}
        self.fixed |= {account.deliver(message_bytes("fixed"), place=place) for place in (Place.TRASH, Place.SPAM)}
        for number in range(4):
            account.deliver(message_bytes(f"{number}"), self.rng.sample(_GMAIL_LABELS, 2))

    def run(self) -> None:
        """Do random things, then bring both sides in step."""
        self.hands.sync()
        here = [self.copy, self.move, self.delete, self.store, self.append, self.copy, self.move, self.delete]
        others = [self.web, self.web, self.sync, self.replay, self.cut]
        for _ in range(_STEPS):
            step: Callable[[], None] = self.rng.choice([*here, *others])
            step()
        self.hands.proxy.disarm()
        for _ in range(4):
            Mutation.objects.update(next_try_at=timezone.now())
            self.hands.replay()
            self.hands.sync()

    def copy(self) -> None:
        """Copy some messages."""
        if (source := self._some()) is not None:
            target = self.rng.choice(_MAILBOXES)
            self._tell("copy", *source, target)
            self.hands.copy(target, source=source[0], uids=source[1])

    def move(self) -> None:
        """Move some messages."""
        source = self._some()
        if source is not None and (target := self.rng.choice(_MAILBOXES)) != source[0]:
            self._tell("move", *source, target)
            self.hands.move(target, source=source[0], uids=source[1])

    def delete(self) -> None:
        """Delete some messages."""
        if (source := self._some()) is not None:
            self._tell("delete", *source)
            if source[0] in (TRASH, SPAM):
                rows = self.hands.here()[source[0]]
                uids = self.hands.uids(source[0])
                self.deleted |= {data for (data, _), uid in zip(rows, uids, strict=True) if uid in source[1]}
            self.hands.delete(mailbox=source[0], uids=source[1])

    def store(self) -> None:
        """Change a flag of some messages."""
        if (source := self._some()) is not None:
            flag, mode = self.rng.choice(_FLAGS), self.rng.choice([StoreMode.ADD, StoreMode.REMOVE])
            self._tell("store", *source, flag, mode.name)
            self.hands.store(flag, mailbox=source[0], uids=source[1], mode=mode)

    def append(self) -> None:
        """Append a message, perhaps one that was appended before."""
        if not self.appended or self.rng.random() < 0.7:
            self.appended.append(message_bytes(f"appended {len(self.appended)}"))
            data = self.appended[-1]
        else:
            data = self.rng.choice(self.appended)
        mailbox = self.rng.choice(_MAILBOXES)
        self.deleted.discard(data)
        self._tell("append", self.appended.index(data), mailbox)
        self.hands.append(data, mailbox=mailbox)

    def web(self) -> None:
        """Do something on the web."""
        account = self.hands.gmail.account
        mails = [msgid for msgid in account.mails if msgid not in self.fixed]
        what = self.rng.choice(["label", "unlabel", "trash", "restore", "flag", "deliver"])
        self._tell("web", what)
        if what == "deliver" or not mails:
            account.deliver(message_bytes("delivered"), self.rng.sample(_GMAIL_LABELS, 1))
            return
        msgid, label = self.rng.choice(mails), self.rng.choice(_GMAIL_LABELS)
        if what == "trash":
            account.trash(msgid)
        elif what == "restore":
            account.restore(msgid, label)
        elif what == "flag":
            account.flag(msgid, self.rng.choice(_FLAGS))
        elif account.mails[msgid].place is Place.ALL:
            (account.label if what == "label" else account.unlabel)(msgid, label)

    def sync(self) -> None:
        """Read what Gmail has."""
        self._tell("sync")
        self.hands.sync()

    def replay(self) -> None:
        """Take upstream what waits."""
        self._tell("replay")
        self.hands.replay()

    def cut(self) -> None:
        """Have a connection cut at one of the next changes, and replay."""
        kind = self.rng.choice([Kind.CUT_BEFORE, Kind.CUT_AFTER])
        verb = self.rng.choice(["UID STORE", "UID MOVE", "UID COPY", "APPEND", "UID EXPUNGE"])
        self._tell("cut", kind.name, verb)
        self.hands.proxy.arm(Fault(kind, verb))
        self.hands.replay()
        self.hands.proxy.disarm()

    def _some(self) -> tuple[str, NumberSet] | None:
        mailbox = self.rng.choice(_MAILBOXES)
        uids = self.hands.uids(mailbox)[1:]
        if not uids:
            return None
        return mailbox, NumberSet.from_numbers(self.rng.sample(uids, min(len(uids), self.rng.randint(1, 2))))

    def _tell(self, *words: object) -> None:
        self.told.append(" ".join(map(str, words)))


@pytest.mark.parametrize("seed", range(_HISTORIES))
def test_both_sides_end_up_alike(gmail_hands: GmailHands, seed: int) -> None:
    history = _History(gmail_hands, seed)
    mails = gmail_hands.gmail.account.mails
    history.run()
    story = "\n".join(history.told)
    assert gmail_hands.unsettled() == [], story
    assert differences(gmail_hands.here(), gmail_hands.there()) == [], story
    there = Counter(mail.data for mail in mails.values() if mail.place is not Place.TRASH)
    assert not [data for data, count in there.items() if count > 1], story
    lost = set(history.appended) - history.deleted - {mail.data for mail in mails.values()}
    assert not lost, story
