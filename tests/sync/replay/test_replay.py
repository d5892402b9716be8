"""Every kind of local change, replayed to a real Dovecot."""

from __future__ import annotations

import pytest

from mailcache.flags import StoreMode, SystemFlag
from mailcache.models import Mailbox, Message, MutationState, Remote
from mailcache.wire.number_set import NumberSet
from sync.replay.run import ReplayEnd
from tests.builders import message_bytes
from tests.sync.replay.hands import Hands


def _numbers(*numbers: int) -> NumberSet:
    return NumberSet.from_numbers(numbers)


class TestFlags:
    def test_flags_and_keywords_are_added_and_taken_away(self, hands: Hands) -> None:
        hands.deliver(message_bytes("one"), message_bytes("two"), flags=("\\Flagged",))
        hands.store("\\Seen", "$Work", uids=_numbers(1))
        hands.store("\\Flagged", uids=_numbers(2), mode=StoreMode.REMOVE)
        assert hands.replay() is ReplayEnd.DONE
        assert [flags for _, flags in hands.there()] == [{"\\Flagged", "\\Seen", "$Work"}, set()]
        assert hands.unsettled() == []
        agreed = Remote.objects.filter(account=hands.account).order_by("uid")
        assert [(row.flags, row.keywords) for row in agreed] == [(5, ["$Work"]), (0, [])]

    def test_a_flag_that_was_toggled_ends_as_it_was_last_set(self, hands: Hands) -> None:
        hands.deliver(message_bytes("one"))
        hands.store("\\Seen")
        hands.store("\\Seen", mode=StoreMode.REMOVE)
        hands.store("\\Seen")
        hands.replay()
        assert hands.there()[0][1] == {"\\Seen"}
        assert hands.proxy.counts()["UID STORE"] == 1


class TestMessages:
    def test_messages_are_appended_with_flags_and_date(self, hands: Hands) -> None:
        hands.sync()
        data = [message_bytes(f"new {number}") for number in range(3)]
        hands.append(*data, flags=["\\Seen", "$Work"])
        assert hands.replay() is ReplayEnd.DONE
        assert hands.there() == [(one, frozenset({"\\Seen", "$Work"})) for one in data]
        assert hands.proxy.counts()["APPEND"] == 1
        assert all(message.remote is not None for message in Message.objects.filter(account=hands.account))

    def test_what_is_done_to_a_new_message_follows_it(self, hands: Hands) -> None:
        hands.sync()
        data = message_bytes("new")
        hands.append(data)
        hands.store("\\Flagged")
        hands.move("Archive")
        hands.store("\\Seen", mailbox="Archive")
        assert hands.replay() is ReplayEnd.DONE
        assert hands.there() == []
        assert hands.there("Archive") == [(data, frozenset({"\\Flagged", "\\Seen"}))]

    def test_messages_are_copied(self, hands: Hands) -> None:
        data = message_bytes("one")
        hands.deliver(data, flags=("\\Seen",))
        hands.copy("Archive")
        hands.copy("Archive")
        hands.replay()
        assert hands.there() == [(data, frozenset({"\\Seen"}))]
        assert hands.there("Archive") == [(data, frozenset({"\\Seen"}))] * 2
        assert hands.unsettled() == []

    def test_messages_are_moved_with_their_last_flags(self, hands: Hands) -> None:
        data = message_bytes("one")
        hands.deliver(data)
        hands.store("\\Seen")
        hands.move("Archive")
        hands.replay()
        assert hands.there() == []
        assert hands.there("Archive") == [(data, frozenset({"\\Seen"}))]
        assert hands.proxy.counts()["UID MOVE"] == 1

    def test_messages_are_expunged_and_no_others(self, hands: Hands) -> None:
        data = [message_bytes(f"{number}") for number in range(3)]
        hands.deliver(*data)
        with hands.dovecot.login(hands.user) as client:
            client.select("INBOX")
            client.uid("STORE", "3", "+FLAGS", "(\\Deleted)")
        hands.delete(uids=_numbers(2))
        hands.replay()
        assert [one for one, _ in hands.there()] == [data[0], data[2]]
        assert hands.unsettled() == []

    @pytest.mark.parametrize("is_new", [False, True], ids=["mirrored", "new"])
    def test_a_copy_keeps_flags_whose_original_was_expunged(self, hands: Hands, *, is_new: bool) -> None:
        """What clients without MOVE do: mark, copy, delete."""
        data = message_bytes("one")
        if is_new:
            hands.sync()
            hands.append(data)
        else:
            hands.deliver(data)
        hands.store("\\Flagged", "$Work")
        hands.copy("Archive")
        hands.store("\\Seen")
        hands.delete()
        assert hands.replay() is ReplayEnd.DONE
        assert hands.there() == []
        assert hands.there("Archive") == [(data, frozenset({"\\Flagged", "$Work"}))]
        hands.sync()
        assert hands.states() == []
        (copy,) = Message.objects.filter(account=hands.account)
        assert (copy.flags, copy.keywords) == (SystemFlag.FLAGGED, ["$Work"])

    def test_an_append_that_was_expunged_again_is_never_sent(self, hands: Hands) -> None:
        hands.sync()
        hands.append(message_bytes("new"))
        hands.delete()
        hands.replay()
        assert hands.states() == []
        assert hands.proxy.counts()["APPEND"] == 0


class TestMailboxes:
    def test_a_mailbox_is_created_renamed_and_deleted(self, hands: Hands) -> None:
        hands.sync()
        hands.create("Größe")
        hands.create("Größe/Below")
        hands.append(message_bytes("in it"), mailbox="Größe/Below")
        hands.rename("Größe", "Other")
        hands.replay()
        assert hands.names_there() >= {"Other", "Other/Below"}
        assert len(hands.there("Other/Below")) == 1
        hands.remove("Other/Below")
        hands.remove("Other")
        hands.replay()
        assert not hands.names_there() & {"Other", "Other/Below", "Gr&APYA3w-e"}
        assert not Mailbox.objects.filter(account=hands.account, deleted_at__isnull=False).exists()
        assert hands.unsettled() == []

    def test_what_was_moved_out_of_a_mailbox_survives_it(self, hands: Hands) -> None:
        hands.sync()
        hands.create("Old")
        hands.replay()
        data = message_bytes("kept")
        hands.append(data, mailbox="Old")
        hands.replay()
        hands.move("Archive", source="Old")
        hands.remove("Old")
        hands.replay()
        assert [one for one, _ in hands.there("Archive")] == [data]
        assert "Old" not in hands.names_there()

    def test_subscriptions_are_told(self, hands: Hands) -> None:
        hands.sync()
        hands.create("List")
        hands.replay()
        with hands.dovecot.login(hands.user) as client:
            assert client.lsub('""', "List")[1] != [None]
        hands.subscribe("List", subscribed=False)
        hands.replay()
        with hands.dovecot.login(hands.user) as client:
            assert client.lsub('""', "List")[1] == [None]
        assert [state for _, state in hands.states()] == [MutationState.SETTLED] * 2
