"""Gmail: mailboxes that are labels are made, renamed and deleted; labels that changed unnoticed are found."""

from __future__ import annotations

import pytest

from mailcache.errors import InvalidValue
from mailcache.models import Message, Remote
from mailcache.wire.number_set import NumberSet
from sync.audit import AuditEnd, audit_account
from sync.models import Checkpoint
from sync.replay.run import ReplayEnd
from tests.builders import message_bytes
from tests.sync.replay.gmail import ALL, INBOX, STARRED, TRASH, GmailHands

FIRST = NumberSet.parse("1")


@pytest.fixture
def hands(gmail_hands: GmailHands) -> GmailHands:
    return gmail_hands


class TestNames:
    def test_a_new_label_is_filled_before_gmail_has_it(self, hands: GmailHands) -> None:
        hands.started("one")
        hands.create("Trips/Ünder")
        hands.copy("Trips/Ünder")
        hands.append(message_bytes("two"), mailbox="Trips/Ünder")
        assert hands.subjects("Trips/Ünder") == [b"one", b"two"]
        assert hands.replay() is ReplayEnd.DONE
        hands.agree()

    def test_a_renamed_label_keeps_its_messages(self, hands: GmailHands) -> None:
        (msgid,) = hands.started("one", "two", labels=("Work",))[:1]
        before = list(Message.objects.filter(mailbox__name="Work").order_by("uid").values_list("pk", "uid"))
        hands.delete(mailbox="Work", uids=FIRST)
        hands.rename("Work", "Play")
        hands.copy("Play", source=ALL, uids=FIRST)
        assert hands.replay() is ReplayEnd.DONE
        assert "Work" not in hands.gmail.account.folders
        assert hands.gmail.account.mails[msgid].labels == {"Play"}
        hands.agree()
        assert before[1] in Message.objects.filter(mailbox__name="Play").values_list("pk", "uid")

    def test_a_deleted_label_deletes_no_message(self, hands: GmailHands) -> None:
        hands.started("one", labels=("Work",))
        hands.append(message_bytes("two"), mailbox="Work")
        hands.remove("Work")
        assert hands.subjects(ALL) == [b"one", b"two"]
        assert hands.replay() is ReplayEnd.DONE
        hands.sync()
        hands.agree()
        assert hands.subjects(ALL) == [b"one", b"two"]
        hands.create("Work")
        hands.replay()
        hands.agree()

    @pytest.mark.parametrize("name", [STARRED, ALL, TRASH])
    def test_gmails_own_mailboxes_stay(self, hands: GmailHands, name: str) -> None:
        hands.sync()
        with pytest.raises(InvalidValue):
            hands.remove(name)
        with pytest.raises(InvalidValue):
            hands.rename(name, "Other")

    def test_inbox_renamed_gives_its_messages_away(self, hands: GmailHands) -> None:
        hands.started("one")
        hands.rename(INBOX, "Old")
        hands.replay()
        hands.agree()
        assert hands.subjects("Old") == [b"one"]


class TestAudit:
    def test_labels_that_changed_unnoticed_are_found(self, hands: GmailHands) -> None:
        hands.started("one", labels=("Work",))
        hands.sync()
        Checkpoint.objects.exclude(mailbox__name=ALL).update(audited_at=None)
        Remote.objects.filter(mailbox__name=ALL).update(labels=["\\Inbox"])
        ends = {audit_account(hands.account.pk) for _ in range(3)}
        assert AuditEnd.DIFFERED in ends
        hands.sync()
        assert list(Remote.objects.filter(mailbox__name=ALL).values_list("labels", flat=True)) == [["Work"]]
        assert AuditEnd.DIFFERED not in {audit_account(hands.account.pk) for _ in range(3)}
