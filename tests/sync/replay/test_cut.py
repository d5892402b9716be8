"""Connections that end in the middle of a change: what became of it is looked up, nothing is lost or doubled."""

from __future__ import annotations

import pytest

from mailcache.models import Message
from sync.replay.run import ReplayEnd
from tests.builders import message_bytes
from tests.fakes.chaos_proxy import Fault, Kind
from tests.sync.replay.hands import Hands

_CUTS = [Kind.CUT_BEFORE, Kind.CUT_AFTER, Kind.CUT_IN_ANSWER]
_HIDDEN = [frozenset[str](), frozenset({"UIDPLUS", "MOVE", "MULTIAPPEND", "LITERAL+"})]


@pytest.mark.parametrize("hidden", _HIDDEN, ids=["full", "lacking"])
@pytest.mark.parametrize("kind", _CUTS, ids=lambda kind: kind.name)
class TestCut:
    def test_appends_arrive_once(self, hands: Hands, kind: Kind) -> None:
        hands.sync()
        same = message_bytes("twice")
        hands.append(same, message_bytes("between"), same)
        hands.proxy.arm(Fault(kind, "APPEND", after=4))
        assert hands.replay() is ReplayEnd.DONE
        assert len(hands.proxy.fired) == 1
        there = [data for data, _ in hands.there()]
        assert len(there) == 3
        assert there.count(same) == 2
        assert hands.unsettled() == []
        remotes = Message.objects.filter(account=hands.account).values_list("remote__uid", flat=True)
        assert len(set(remotes)) == 3

    def test_copies_arrive_once(self, hands: Hands, kind: Kind) -> None:
        data = message_bytes("one")
        hands.deliver(data)
        hands.copy("Archive")
        hands.copy("Archive")
        hands.proxy.arm(Fault(kind, "UID COPY", after=4))
        assert hands.replay() is ReplayEnd.DONE
        assert len(hands.proxy.fired) == 1
        assert [one for one, _ in hands.there("Archive")] == [data] * 2
        assert hands.unsettled() == []

    def test_messages_are_moved_once(self, hands: Hands, kind: Kind, hidden: frozenset[str]) -> None:
        data = [message_bytes("one"), message_bytes("two")]
        hands.deliver(*data)
        hands.move("Archive")
        hands.proxy.arm(Fault(kind, "UID COPY" if "MOVE" in hidden else "UID MOVE", after=4))
        assert hands.replay() is ReplayEnd.DONE
        assert len(hands.proxy.fired) == 1
        assert hands.there() == []
        assert [one for one, _ in hands.there("Archive")] == data
        assert hands.unsettled() == []

    def test_flags_are_stored(self, hands: Hands, kind: Kind) -> None:
        hands.deliver(message_bytes("one"))
        hands.store("\\Seen")
        hands.proxy.arm(Fault(kind, "UID STORE", after=4))
        assert hands.replay() is ReplayEnd.DONE
        assert hands.there()[0][1] == {"\\Seen"}
        assert hands.unsettled() == []

    def test_messages_are_expunged(self, hands: Hands, kind: Kind, hidden: frozenset[str]) -> None:
        hands.deliver(message_bytes("one"))
        hands.delete()
        hands.proxy.arm(Fault(kind, "EXPUNGE" if "UIDPLUS" in hidden else "UID EXPUNGE", after=4))
        assert hands.replay() is ReplayEnd.DONE
        assert len(hands.proxy.fired) == 1
        assert hands.there() == []
        assert hands.unsettled() == []


@pytest.mark.parametrize("kind", _CUTS, ids=lambda kind: kind.name)
class TestNamesCut:
    def test_a_mailbox_is_created_renamed_and_deleted(self, hands: Hands, kind: Kind) -> None:
        hands.sync()
        hands.create("One")
        hands.proxy.arm(Fault(kind, "CREATE", after=4))
        assert hands.replay() is ReplayEnd.DONE
        hands.rename("One", "Two")
        hands.proxy.arm(Fault(kind, "RENAME", after=4))
        assert hands.replay() is ReplayEnd.DONE
        assert "Two" in hands.names_there()
        assert "One" not in hands.names_there()
        hands.remove("Two")
        hands.proxy.arm(Fault(kind, "DELETE", after=4))
        assert hands.replay() is ReplayEnd.DONE
        assert "Two" not in hands.names_there()
        assert len(hands.proxy.fired) == 3
        assert hands.unsettled() == []
