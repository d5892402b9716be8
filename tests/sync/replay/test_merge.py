"""Every row of the merge table with a real Dovecot on the other side: where the message is in the end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailcache.merge import RULES, Change, Event, Outcome, outcome
from mailcache.models import Mutation
from sync.account_run import SliceEnd, run_slice
from tests.builders import message_bytes
from tests.fakes.chaos_proxy import Fault, Kind
from tests.sync.mirror import differences, mirrored, whole_upstream
from tests.sync.replay.hands import Hands
from tests.sync.upstreams import let_time_pass

pytestmark = pytest.mark.dovecot

# Where the message is found in the end: it began in Source, unless it is appended to Target.
_ENDS: dict[tuple[Change, Event], str] = {
    (Change.STORE, Event.FLAGS): "Source",
    (Change.STORE, Event.GONE): "",
    (Change.STORE, Event.MOVED): "Elsewhere",
    (Change.STORE, Event.SOURCE_DELETED): "",
    (Change.STORE, Event.RENUMBERED): "Source",
    (Change.EXPUNGE, Event.FLAGS): "",
    (Change.EXPUNGE, Event.GONE): "",
    (Change.EXPUNGE, Event.MOVED): "Elsewhere",
    (Change.EXPUNGE, Event.SOURCE_DELETED): "",
    (Change.EXPUNGE, Event.RENUMBERED): "",
    (Change.COPY, Event.FLAGS): "Source Target",
    (Change.COPY, Event.GONE): "Target",
    (Change.COPY, Event.MOVED): "Elsewhere Target",
    (Change.COPY, Event.SOURCE_DELETED): "Target",
    (Change.COPY, Event.TARGET_DELETED): "Source Target",
    (Change.COPY, Event.RENUMBERED): "Source Target",
    (Change.COPY, Event.UNNAMEABLE): "Target",
    (Change.MOVE, Event.FLAGS): "Target",
    (Change.MOVE, Event.GONE): "",
    (Change.MOVE, Event.MOVED): "Elsewhere",
    (Change.MOVE, Event.SOURCE_DELETED): "Target",
    (Change.MOVE, Event.TARGET_DELETED): "Target",
    (Change.MOVE, Event.RENUMBERED): "Target",
    (Change.MOVE, Event.UNNAMEABLE): "Target",
    (Change.APPEND, Event.TARGET_DELETED): "Target",
    (Change.APPEND, Event.SENT_RENUMBERED): "Target",
    (Change.CREATE, Event.MAILBOX_CREATED): "Source",
    (Change.RENAME, Event.MAILBOX_RENAMED): "Ours",
    (Change.RENAME, Event.MAILBOX_DELETED): "",
    (Change.DELETE, Event.MAILBOX_RENAMED): "Theirs",
    (Change.DELETE, Event.MAILBOX_DELETED): "",
    (Change.DELETE, Event.MAIL_ARRIVED): "Source",
    (Change.DELETE, Event.MAILBOX_RENUMBERED): "Source",
}


def test_no_row_is_left_out() -> None:
    assert _ENDS.keys() == RULES.keys()


@pytest.mark.parametrize("first", ["sync", "replay"])
@pytest.mark.parametrize(("change", "event"), _ENDS, ids=lambda value: value.name)
def test_both_sides_end_alike(hands: Hands, change: Change, event: Event, first: str) -> None:
    data = message_bytes()
    for name in ("Source", "Target", "Elsewhere"):
        hands.others.create(name)
    hands.dovecot.deliver(hands.user, message_bytes() if change is Change.APPEND else data, "Source")
    hands.sync()
    _change(hands, change, event, data)
    _happen(hands, event)
    if first == "replay":
        hands.replay()
    _settle(hands)
    with hands.dovecot.login(hands.user) as client:
        there = whole_upstream(client)
    assert _places(there, data) == _ENDS[change, event].split()
    if outcome(change, event) is Outcome.PARKED:
        assert [(kind, state) for kind, state, _ in hands.unsettled()] == [("delete", "parked")]
        return
    parked = [kind for kind, state, _ in hands.unsettled()]
    assert parked == (["delete"] if event is Event.UNNAMEABLE else [])
    if not parked:
        assert differences(mirrored(hands.account), there) == []
    if (change, event) == (Change.STORE, Event.FLAGS):
        assert there["Source"][0][1] == {"\\Seen", "\\Answered"}


def _change(hands: Hands, change: Change, event: Event, data: bytes) -> None:
    if change is Change.STORE:
        hands.store("\\Seen", mailbox="Source")
    elif change is Change.EXPUNGE:
        hands.delete(mailbox="Source")
    elif change is Change.COPY:
        hands.copy("Target", source="Source")
    elif change is Change.MOVE:
        hands.move("Target", source="Source")
    elif change is Change.APPEND:
        hands.append(data, mailbox="Target")
    elif change is Change.CREATE:
        hands.create("New")
    elif change is Change.RENAME:
        hands.rename("Source", "Ours")
    else:
        hands.remove("Source")
    if event is Event.UNNAMEABLE:
        hands.remove("Source")


def _happen(hands: Hands, event: Event) -> None:
    others = hands.others
    if event is Event.FLAGS:
        others.store("FLAGS", "\\Answered", mailbox="Source")
    elif event in (Event.GONE, Event.UNNAMEABLE):
        others.expunge("Source")
    elif event is Event.MOVED:
        others.move("Elsewhere", "Source")
    elif event in (Event.SOURCE_DELETED, Event.MAILBOX_DELETED):
        others.delete("Source")
    elif event is Event.TARGET_DELETED:
        others.delete("Target")
    elif event is Event.MAILBOX_CREATED:
        others.create("New")
    elif event is Event.MAILBOX_RENAMED:
        others.rename("Source", "Theirs")
    elif event is Event.MAIL_ARRIVED:
        hands.dovecot.deliver(hands.user, message_bytes(), "Source")
    elif event is Event.SENT_RENUMBERED:
        # Nothing that is asked after the cut is answered either.
        cuts = [Fault(Kind.CUT_BEFORE, "SELECT", number=number) for number in range(1, 6)]
        hands.proxy.arm(Fault(Kind.CUT_AFTER, "APPEND"), *cuts)
        hands.replay()
        hands.proxy.disarm()
        others.renumber("Target")
    if event in (Event.RENUMBERED, Event.UNNAMEABLE, Event.MAILBOX_RENUMBERED):
        others.renumber("Source")


def _settle(hands: Hands) -> None:
    """Sync and replay by turns, with time passing in between."""
    for _ in range(3):
        assert run_slice(hands.account.pk, full=True) in (SliceEnd.DONE, SliceEnd.AGAIN)
        Mutation.objects.filter(account=hands.account).update(next_try_at=hands.account.created_at)
        hands.replay()
        let_time_pass(hands.account, timedelta(days=2))
    hands.sync()


def _places(there: dict[str, list[tuple[bytes, frozenset[str]]]], data: bytes) -> list[str]:
    return sorted(name for name, messages in there.items() for one, _ in messages if one == data)
