"""Replay to upstreams that lack extensions, or rights."""

from __future__ import annotations

import pytest
from django.utils import timezone

from mailcache.models import MailboxRole, Mutation, Remote
from mailcache.services.mailbox_changes import create_mailbox
from mailcache.wire.number_set import NumberSet
from sync.replay.run import ReplayEnd
from tests.builders import message_bytes
from tests.sync.replay.hands import Hands

_EVERYTHING = frozenset(
    {"UIDPLUS", "MOVE", "MULTIAPPEND", "LITERAL+", "LITERAL-", "ESEARCH", "SPECIAL-USE", "CREATE-SPECIAL-USE",
     "CONDSTORE", "QRESYNC", "ENABLE", "NAMESPACE", "LIST-STATUS", "LIST-EXTENDED"}
)  # fmt: skip
_LACKING = [frozenset({"UIDPLUS"}), frozenset({"MOVE"}), frozenset({"UIDPLUS", "MOVE"}), _EVERYTHING]


def _numbers(*numbers: int) -> NumberSet:
    return NumberSet.from_numbers(numbers)


@pytest.mark.parametrize("hidden", _LACKING, ids=["no-uidplus", "no-move", "neither", "nothing"])
class TestWithoutExtensions:
    def test_a_day_of_work_arrives(self, hands: Hands) -> None:
        data = [message_bytes(f"{number}") for number in range(4)]
        hands.deliver(*data)
        create_mailbox(
            user_id=hands.account.user_id, account_id=hands.account.pk, name="Old mail", role=MailboxRole.ARCHIVE
        )
        same = message_bytes("twice")
        hands.append(same, same, flags=["\\Seen"])
        hands.store("\\Flagged", uids=_numbers(1))
        hands.copy("Old mail", uids=_numbers(1))
        hands.move("Old mail", uids=_numbers(2, 3))
        hands.delete(uids=_numbers(4))
        assert hands.replay() is ReplayEnd.DONE
        assert hands.unsettled() == []
        flagged, seen = frozenset({"\\Flagged"}), frozenset({"\\Seen"})
        assert hands.there() == [(data[0], flagged), (same, seen), (same, seen)]
        assert dict(hands.there("Old mail")) == {data[0]: flagged, data[1]: frozenset(), data[2]: frozenset()}
        assert len(hands.there("Old mail")) == 3


@pytest.mark.parametrize("hidden", [frozenset({"UIDPLUS", "MOVE"})], ids=["no-uidplus"])
class TestPlainExpunge:
    def test_nothing_is_expunged_while_others_are_marked(self, hands: Hands) -> None:
        data = [message_bytes(f"{number}") for number in range(3)]
        hands.deliver(*data)
        with hands.dovecot.login(hands.user) as client:
            client.select("INBOX")
            client.uid("STORE", "3", "+FLAGS", "(\\Deleted)")
        hands.delete(uids=_numbers(2))
        hands.replay()
        assert [one for one, _ in hands.there()] == data
        assert hands.proxy.counts()["EXPUNGE"] == 0
        ((kind, state, error),) = hands.unsettled()
        assert (kind, state) == ("expunge", "pending")
        assert "marked as deleted" in error
        with hands.dovecot.login(hands.user) as client:
            client.select("INBOX")
            client.expunge()
        _let_time_pass(hands)
        hands.replay()
        assert [one for one, _ in hands.there()] == [data[0]]
        assert hands.unsettled() == []


def _let_time_pass(hands: Hands) -> None:
    Mutation.objects.filter(account=hands.account).update(next_try_at=timezone.now())


class TestIdentity:
    def test_another_message_under_the_uid_is_not_removed(self, hands: Hands) -> None:
        data = [message_bytes(f"{number}") for number in range(2)]
        hands.deliver(*data)
        hands.delete(uids=_numbers(1))
        hands.move("Archive", uids=_numbers(2))
        Mutation.objects.filter(kind__in=["expunge", "move"]).update(content=_content_of(hands, message_bytes("other")))
        hands.replay()
        assert [one for one, _ in hands.there()] == data
        assert [(kind, state) for kind, state, _ in hands.unsettled()] == [("move", "parked"), ("expunge", "parked")][
            ::-1
        ]

    def test_a_message_that_is_gone_upstream_is_settled(self, hands: Hands) -> None:
        hands.deliver(message_bytes("one"))
        with hands.dovecot.login(hands.user) as client:
            client.select("INBOX")
            client.uid("STORE", "1", "+FLAGS", "(\\Deleted)")
            client.expunge()
        hands.delete()
        hands.replay()
        assert hands.unsettled() == []

    def test_a_copy_of_a_message_that_is_gone_is_appended(self, hands: Hands) -> None:
        data = message_bytes("one")
        hands.deliver(data)
        hands.copy("Archive")
        _expunge_all(hands)
        hands.replay()
        assert [one for one, _ in hands.there("Archive")] == [data]
        assert hands.unsettled() == []

    def test_a_message_that_was_deleted_there_and_moved_here_is_gone(self, hands: Hands) -> None:
        hands.deliver(message_bytes("one"))
        hands.move("Archive")
        hands.store("\\Seen", mailbox="Archive")
        _expunge_all(hands)
        hands.replay()
        assert hands.unsettled() == []
        assert hands.uids("Archive") == []
        assert hands.there("Archive") == []


def _content_of(hands: Hands, data: bytes) -> object:
    hands.append(data, mailbox="Drafts")
    mutation = Mutation.objects.get(kind="append")
    return mutation.content


def _expunge_all(hands: Hands) -> None:
    with hands.dovecot.login(hands.user) as client:
        client.select("INBOX")
        client.store("1:*", "+FLAGS", "(\\Deleted)")
        client.expunge()


class TestUidvalidity:
    def test_what_is_numbered_anew_waits_for_a_sync(self, hands: Hands) -> None:
        hands.deliver(message_bytes("one"))
        hands.store("\\Seen")
        Remote.objects.filter(account=hands.account).update(uidvalidity=1)
        hands.replay()
        ((kind, state, error),) = hands.unsettled()
        assert (kind, state) == ("store", "pending")
        assert "waiting for a sync" in error
        assert hands.there()[0][1] == set()
        assert hands.proxy.counts()["UID STORE"] == 0
