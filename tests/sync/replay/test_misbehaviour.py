"""Replay to upstreams that refuse, rewrite, keep each message once, or store not all flags."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from mailcache.errors import OverQuota
from mailcache.flags import FlagSet
from mailcache.models import Account, Mailbox, Message, Mutation, Remote
from mailcache.names import RECOVERED
from mailcache.services.mutation_control import retry_mutations
from mailcache.wire.number_set import NumberSet
from sync.replay.run import ReplayEnd
from tests.builders import make_account, message_bytes
from tests.fakes.writable_imap import WritableImap
from tests.sync.replay.hands import LocalHands


@pytest.fixture
def server(transactional_db: None) -> Iterator[WritableImap]:
    """An upstream that misbehaves as it is told."""
    with WritableImap() as fake:
        yield fake
    connections.close_all()


@pytest.fixture
def hands(server: WritableImap) -> LocalHands:
    """A client of an account there, with two messages in INBOX."""
    inbox = server.boxes[b"INBOX"]
    for number in (1, 2):
        inbox.add(message_bytes(f"number {number}"))
    hands = LocalHands(make_account(port=server.port))
    hands.sync()
    return hands


def _let_time_pass(account: Account) -> None:
    Mutation.objects.filter(account=account).update(next_try_at=timezone.now())


def _use_profile(hands: LocalHands, name: str) -> None:
    Account.objects.filter(pk=hands.account.pk).update(profile=name)


class TestFlags:
    def test_keywords_that_the_upstream_does_not_store_stay_here(self, server: WritableImap, hands: LocalHands) -> None:
        server.permanentflags = b"\\Seen \\Deleted"
        hands.store("\\Seen", "\\Flagged", "$Work")
        hands.append(message_bytes("new"), flags=["\\Seen", "$Work"])
        hands.replay()
        assert set(map(frozenset, server.boxes[b"INBOX"].flags.values())) == {frozenset({b"\\Seen"})}
        for message in Message.objects.filter(account=hands.account):
            assert "$Work" in message.keywords
        for remote in Remote.objects.filter(account=hands.account):
            assert FlagSet.of(remote.flags, remote.keywords) == FlagSet.parse(["\\Seen"])
        assert hands.unsettled() == []

    def test_a_read_only_mailbox_parks_its_changes_and_no_others(self, server: WritableImap, hands: LocalHands) -> None:
        server.read_only = True
        hands.store("\\Seen")
        hands.delete()
        hands.append(message_bytes("new"), mailbox="Archive")
        assert hands.replay() is ReplayEnd.DONE
        assert {(kind, state) for kind, state, _ in hands.unsettled()} == {("expunge", "parked")}
        assert all("read-only" in reason for _, _, reason in hands.unsettled())
        assert len(server.boxes[b"Archive"].messages) == 1


class TestRefused:
    def test_a_message_that_is_refused_for_good_is_recovered_and_the_others_arrive(
        self, server: WritableImap, hands: LocalHands
    ) -> None:
        server.refuses_append = lambda data: b"NO [CANNOT] virus" if b"bad" in data else b""
        hands.append(message_bytes("good"), message_bytes("bad"), message_bytes("fine"), mailbox="Archive")
        hands.replay()
        assert len(server.boxes[b"Archive"].messages) == 2
        ((kind, state, reason),) = hands.unsettled()
        assert (kind, state) == ("append", "parked")
        assert "virus" in reason
        assert len(hands.uids(RECOVERED)) == 1
        server.refuses_append = lambda data: b""
        retry_mutations(account_id=hands.account.pk, ids=Mutation.objects.values_list("pk", flat=True))
        hands.replay()
        assert len(server.boxes[b"Archive"].messages) == 3
        assert hands.uids(RECOVERED) == []
        assert hands.unsettled() == []

    def test_one_that_is_refused_without_a_reason_is_recovered_after_eight_times(
        self, server: WritableImap, hands: LocalHands
    ) -> None:
        server.refuses_append = lambda data: b"NO I will not"
        hands.append(message_bytes("new"), mailbox="Archive")
        for _ in range(8):
            hands.replay()
            _let_time_pass(hands.account)
        assert len(server.asked(b"APPEND")) == 8
        assert len(hands.uids(RECOVERED)) == 1

    def test_a_full_mailbox_is_no_reason_to_give_up(self, server: WritableImap, hands: LocalHands) -> None:
        server.refuses_append = lambda data: b"NO [OVERQUOTA] full"
        hands.append(message_bytes("one"), message_bytes("two"), mailbox="Archive")
        for _ in range(10):
            hands.replay()
            _let_time_pass(hands.account)
        assert [(kind, state) for kind, state, _ in hands.unsettled()] == [("append", "pending")] * 2
        assert len(server.asked(b"APPEND")) <= 20
        # What is as large is not taken here either, as long as that is known; what may fit is.
        with pytest.raises(OverQuota, match="provider"):
            hands.append(message_bytes("three"), mailbox="Archive")
        hands.append(b"Subject: x\r\n\r\n")
        server.refuses_append = lambda data: b""
        hands.replay()
        hands.append(message_bytes("three"))
        assert len(server.boxes[b"Archive"].messages) == 2
        assert not Mailbox.objects.filter(name=RECOVERED).exists()

    def test_a_mailbox_that_was_deleted_there_is_made_again(self, server: WritableImap, hands: LocalHands) -> None:
        hands.append(message_bytes("new"), mailbox="Archive")
        del server.boxes[b"Archive"]
        hands.replay()
        _let_time_pass(hands.account)
        hands.replay()
        assert len(server.boxes[b"Archive"].messages) == 1
        assert hands.unsettled() == []


class TestIdentity:
    def test_without_appenduid_two_that_are_the_same_stay_two(self, server: WritableImap, hands: LocalHands) -> None:
        server.says_appenduid = False
        same = message_bytes("same")
        hands.append(same, same, mailbox="Archive")
        hands.replay()
        assert list(server.boxes[b"Archive"].messages.values()) == [same, same]
        assert len(hands.uids("Archive")) == 2
        assert hands.unsettled() == []

    def test_what_was_accepted_never_goes_out_again(self, server: WritableImap, hands: LocalHands) -> None:
        server.says_appenduid = False
        server.refuses_select = 1
        hands.append(message_bytes("new"), mailbox="Archive")
        hands.replay()
        assert [(kind, state) for kind, state, _ in hands.unsettled()] == [("append", "sent")]
        for _ in range(2):
            _let_time_pass(hands.account)
            hands.replay()
        assert hands.unsettled() == []
        assert len(server.asked(b"APPEND")) == len(server.boxes[b"Archive"].messages) == 1

    def test_messages_without_message_id_are_told_by_their_bytes(self, server: WritableImap, hands: LocalHands) -> None:
        server.says_appenduid = False
        data = [b"Subject: a\r\n\r\none\r\n", b"Subject: a\r\n\r\ntwo\r\n"]
        server.loses_append_answer = 1
        hands.append(*data, mailbox="Archive")
        hands.replay()
        box = server.boxes[b"Archive"]
        assert list(box.messages.values()) == data
        rows = Message.objects.filter(mailbox=hands.mailbox("Archive")).select_related("remote", "content")
        for message in rows:
            assert message.remote is not None
            assert message.content is not None
            assert bytes(message.content.inline or b"") == box.messages[message.remote.uid]

    def test_what_an_upstream_has_already_is_not_shown_twice(self, server: WritableImap, hands: LocalHands) -> None:
        server.deduplicates = True
        data = server.boxes[b"INBOX"].messages[1]
        hands.append(data)
        hands.replay()
        assert len(server.boxes[b"INBOX"].messages) == 2
        assert len(hands.uids()) == 2
        assert hands.unsettled() == []

    def test_nor_if_it_does_not_tell(self, server: WritableImap, hands: LocalHands) -> None:
        _use_profile(hands, "proton")
        server.deduplicates, server.says_appenduid = True, False
        hands.append(server.boxes[b"INBOX"].messages[1])
        hands.replay()
        assert len(hands.uids()) == 2
        assert hands.unsettled() == []

    def test_a_rewritten_message_that_was_cut_off_is_parked_rather_than_sent_again(
        self, server: WritableImap, hands: LocalHands
    ) -> None:
        _use_profile(hands, "proton")
        server.rewrites = lambda data: b"X-Rewritten: yes\r\n" + data.replace(b"Message-ID", b"X-Old-ID")
        server.loses_append_answer = 1
        hands.append(message_bytes("new"), mailbox="Archive")
        hands.replay()
        assert len(server.asked(b"APPEND")) == 1
        assert [(kind, state) for kind, state, _ in hands.unsettled()] == [("append", "parked")]
        assert len(hands.uids("Archive")) == 1

    def test_a_rewritten_message_is_found_by_its_message_id(self, server: WritableImap, hands: LocalHands) -> None:
        _use_profile(hands, "proton")
        server.rewrites = lambda data: b"X-Rewritten: yes\r\n" + data
        server.loses_append_answer = 1
        hands.append(message_bytes("new"), mailbox="Archive")
        hands.replay()
        assert len(server.asked(b"APPEND")) == 1
        assert hands.unsettled() == []


class TestWithoutUidvalidity:
    """Quirk 41: syncs number such a mailbox themselves, and replay goes by their numbers."""

    def test_changes_are_replayed(self, server: WritableImap) -> None:
        server.says_uidvalidity = server.says_appenduid = False
        server.capabilities = b"IMAP4rev1"
        box = server.boxes[b"INBOX"]
        for number in (1, 2, 3):
            box.add(message_bytes(f"number {number}"))
        hands = LocalHands(make_account(port=server.port))
        hands.sync()
        hands.store("\\Flagged", uids=NumberSet.from_numbers([1]))
        hands.append(message_bytes("new"))
        hands.replay()
        hands.sync()
        assert hands.unsettled() == []
        assert box.flags[1] == {b"\\Flagged"}
        assert len(hands.uids()) == len(box.messages) == 4


class TestSent:
    def test_mail_that_the_upstream_files_by_itself_is_not_doubled(
        self, server: WritableImap, hands: LocalHands
    ) -> None:
        Account.objects.filter(pk=hands.account.pk).update(profile="gmail")
        sent = message_bytes("sent")
        hands.append(sent, mailbox="Sent")
        hands.replay()
        assert server.asked(b"APPEND") == []
        server.boxes[b"Sent"].add(sent)
        _let_time_pass(hands.account)
        hands.replay()
        assert server.asked(b"APPEND") == []
        assert hands.unsettled() == []
        assert len(hands.uids("Sent")) == 1

    def test_after_a_quarter_of_an_hour_the_clients_copy_goes_there(
        self, server: WritableImap, hands: LocalHands
    ) -> None:
        Account.objects.filter(pk=hands.account.pk).update(profile="gmail")
        hands.append(message_bytes("sent"), mailbox="Sent")
        Mutation.objects.update(created_at=timezone.now() - timedelta(minutes=16))
        hands.replay()
        assert len(server.boxes[b"Sent"].messages) == 1
