"""Gmail: what clients do in label mailboxes becomes changes of labels (field notes section 2, rows 1, 6 and 9)."""

from __future__ import annotations

import pytest

from mailcache.errors import InvalidValue
from mailcache.flags import StoreMode
from mailcache.models import Mailbox, Mutation, Remote
from mailcache.services.expunge import expunge_messages
from mailcache.services.mutation_control import drop_mutations
from mailcache.wire.number_set import NumberSet
from sync.models import Checkpoint
from sync.replay.run import ReplayEnd
from tests.builders import message_bytes
from tests.fakes.chaos_proxy import Fault, Kind
from tests.fakes.gmail import Place
from tests.sync.replay.gmail import ALL, DRAFTS, INBOX, SENT, SPAM, STARRED, TRASH, GmailHands

FIRST = NumberSet.parse("1")


@pytest.fixture
def hands(gmail_hands: GmailHands) -> GmailHands:
    return gmail_hands


class TestLabels:
    def test_a_copy_is_a_label_more(self, hands: GmailHands) -> None:
        (msgid,) = hands.started("one")
        hands.copy("Work")
        assert hands.subjects("Work") == [b"one"]
        assert hands.replay() is ReplayEnd.DONE
        assert hands.stored() == [b"UID STORE 1 +X-GM-LABELS.SILENT (Work)"]
        assert hands.gmail.account.mails[msgid].labels == {"\\Inbox", "Work"}
        hands.agree()
        assert Remote.objects.filter(mailbox__name=ALL).count() == 1

    def test_a_move_is_another_label(self, hands: GmailHands) -> None:
        hands.started("one", "two")
        hands.move("Work")
        assert hands.subjects(INBOX) == []
        assert hands.subjects(ALL) == [b"one", b"two"]
        assert hands.replay() is ReplayEnd.DONE
        assert hands.stored() == [
            b"UID STORE 1:2 +X-GM-LABELS.SILENT (Work)",
            b"UID STORE 1:2 -X-GM-LABELS.SILENT (\\Inbox)",
        ]
        hands.agree()

    def test_an_expunge_is_a_label_less(self, hands: GmailHands) -> None:
        hands.started("one", labels=("\\Inbox", "Work"))
        hands.delete()
        assert hands.subjects("Work") == hands.subjects(ALL) == [b"one"]
        assert hands.replay() is ReplayEnd.DONE
        # Marked as deleted it would be gone from all its mailboxes with another setting of the user's.
        assert hands.stored() == [b"UID STORE 1 -X-GM-LABELS.SILENT (\\Inbox)"]
        assert not hands.gmail.asked(b"UID EXPUNGE")
        hands.agree()

    def test_a_mark_is_one_mailboxs_own(self, hands: GmailHands) -> None:
        hands.started("one", labels=("\\Inbox", "Work"))
        hands.store("\\Deleted", "\\Seen")
        marks = {name: [flags for _, flags in hands.here()[name]] for name in (INBOX, "Work", ALL)}
        assert marks == {
            INBOX: [frozenset({"\\Deleted", "\\Seen"})],
            "Work": [frozenset({"\\Seen"})],
            ALL: [frozenset({"\\Seen"})],
        }
        assert hands.replay() is ReplayEnd.DONE
        assert hands.stored() == [b"UID STORE 1 +FLAGS.SILENT (\\Seen)"]
        Checkpoint.objects.update(full_wanted=True)
        hands.sync()
        assert hands.here()[INBOX][0][1] == {"\\Deleted", "\\Seen"}
        # Nor does somebody else's mark there come here.
        hands.gmail.account.flag(next(iter(hands.gmail.account.mails)), "\\Deleted", "\\Answered")
        hands.sync()
        assert hands.here()["Work"][0][1] == {"\\Answered", "\\Seen"}
        user, work = hands.account.user_id, hands.mailbox("Work").pk
        assert not expunge_messages(user_id=user, mailbox_id=work)

    def test_what_is_there_already_keeps_its_uid(self, hands: GmailHands) -> None:
        hands.started("one", labels=("\\Inbox", "Work"))
        before = hands.uids("Work")
        hands.copy("Work")
        hands.copy(ALL)
        assert hands.uids("Work") == before
        assert hands.states() == []

    def test_of_a_label_that_comes_and_goes_the_last_change_counts(self, hands: GmailHands) -> None:
        hands.started("one")
        hands.copy("Work")
        hands.delete(mailbox="Work")
        assert hands.subjects(ALL) == hands.subjects(INBOX) == [b"one"]
        assert hands.replay() is ReplayEnd.DONE
        assert hands.stored() == [b"UID STORE 1 -X-GM-LABELS.SILENT (Work)"]
        hands.agree()

    def test_archived_by_a_move_to_all_mail(self, hands: GmailHands) -> None:
        hands.started("one")
        hands.move(ALL)
        assert hands.subjects(ALL) == [b"one"]
        assert hands.subjects(INBOX) == []
        hands.replay()
        hands.agree()

    def test_a_move_out_of_all_mail_leaves_it_there(self, hands: GmailHands) -> None:
        hands.started("one", labels=())
        hands.move("Work", source=ALL)
        assert hands.subjects(ALL) == hands.subjects("Work") == [b"one"]
        hands.replay()
        hands.agree()

    def test_a_star_is_a_label(self, hands: GmailHands) -> None:
        hands.started("one")
        hands.copy(STARRED)
        hands.replay()
        assert hands.stored() == [b"UID STORE 1 +X-GM-LABELS.SILENT (\\Starred)"]
        hands.sync()
        hands.agree()
        assert hands.here()[INBOX][0][1] == {"\\Flagged"}

    def test_flags_change_in_all_mailboxes_by_one_command(self, hands: GmailHands) -> None:
        hands.started("one", labels=("\\Inbox", "Work"))
        hands.store("\\Seen", mailbox="Work")
        assert {flags for name in (INBOX, "Work", ALL) for _, flags in hands.here()[name]} == {frozenset({"\\Seen"})}
        hands.store("\\Seen", mode=StoreMode.REMOVE)
        hands.store("\\Answered", mailbox=ALL)
        hands.replay()
        assert len(hands.stored()) == 2
        hands.agree()


class TestPlaces:
    @pytest.mark.parametrize("place", [TRASH, SPAM])
    def test_moved_to_trash_it_leaves_all_mailboxes_at_once(self, hands: GmailHands, place: str) -> None:
        (msgid,) = hands.started("one", labels=("\\Inbox", "Work"))
        hands.store("\\Seen", "\\Deleted")
        hands.copy(place)
        assert [name for name, rows in hands.here().items() if rows] == [place]
        assert hands.replay() is ReplayEnd.DONE
        assert hands.gmail.account.mails[msgid].place is {TRASH: Place.TRASH, SPAM: Place.SPAM}[place]
        assert hands.gmail.asked(b"UID MOVE") == [b'UID MOVE 1 "%b"' % place.encode()]
        hands.agree()
        assert hands.here()[place][0][1] == {"\\Seen"}

    def test_only_trash_deletes(self, hands: GmailHands) -> None:
        hands.started("one", "two")
        hands.move(TRASH, uids=FIRST)
        hands.delete(mailbox=TRASH)
        assert hands.subjects(ALL) == [b"two"]
        assert hands.replay() is ReplayEnd.DONE
        assert len(hands.gmail.account.mails) == 1
        hands.agree()

    @pytest.mark.parametrize("mailbox", [ALL, DRAFTS])
    def test_expunged_in_all_mail_and_drafts_it_goes_to_trash(self, hands: GmailHands, mailbox: str) -> None:
        hands.started("one", labels=("\\Draft", "Work"))
        hands.delete(mailbox=mailbox)
        assert [name for name, rows in hands.here().items() if rows] == [TRASH]
        assert hands.replay() is ReplayEnd.DONE
        assert not hands.gmail.asked(b"UID EXPUNGE")
        hands.agree()

    def test_where_trash_is_hidden_nothing_goes_there(self, hands: GmailHands) -> None:
        hands.started("one")
        Mailbox.objects.filter(name=TRASH).update(selectable=False)
        with pytest.raises(InvalidValue):
            hands.delete(mailbox=ALL)
        assert hands.subjects(ALL) == [b"one"]

    @pytest.mark.parametrize("moves", [True, False])
    def test_taken_back_it_gets_the_label(self, hands: GmailHands, moves: bool) -> None:
        hands.gmail.account.deliver(message_bytes("one"), place=Place.TRASH)
        hands.sync()
        (hands.move if moves else hands.copy)("Work", source=TRASH)
        assert hands.subjects("Work") == hands.subjects(ALL) == [b"one"]
        if not moves:
            # As clients do that know no MOVE: that may not delete what was taken back.
            hands.delete(mailbox=TRASH)
        assert hands.replay() is ReplayEnd.DONE
        hands.agree()
        assert hands.subjects("Work") == [b"one"]

    def test_there_and_back_before_gmail_hears_of_it(self, hands: GmailHands) -> None:
        hands.started("one")
        hands.move(TRASH)
        hands.move(INBOX, source=TRASH)
        hands.store("\\Seen")
        hands.copy("Work")
        assert {name for name, rows in hands.here().items() if rows} == {INBOX, "Work", ALL}
        assert hands.replay() is ReplayEnd.DONE
        hands.agree()
        assert hands.here()["Work"][0][1] == {"\\Seen"}


class TestAppend:
    def test_it_is_in_all_mail_and_has_the_label(self, hands: GmailHands) -> None:
        hands.sync()
        data = message_bytes("one")
        hands.append(data, mailbox="Work", flags=("\\Seen",))
        hands.store("\\Flagged", mailbox="Work")
        assert hands.here()["Work"] == hands.here()[ALL] == [(data, frozenset({"\\Seen", "\\Flagged"}))]
        before = hands.uids("Work")
        assert hands.replay() is ReplayEnd.DONE
        hands.sync()
        hands.agree()
        assert hands.uids("Work") == before
        assert Remote.objects.count() == 1

    def test_many_get_their_label_by_one_command(self, hands: GmailHands) -> None:
        hands.sync()
        hands.append(*(message_bytes(f"{number}") for number in range(40)), mailbox="Work")
        hands.gmail.forget()
        assert hands.replay() is ReplayEnd.DONE
        assert len(hands.gmail.asked(b"APPEND")) == 40
        assert len(hands.stored()) == 1
        hands.agree()

    def test_into_the_open_mailbox_it_gets_its_label_and_can_be_thrown_away(self, hands: GmailHands) -> None:
        hands.started("one")
        hands.copy("Work")
        hands.append(message_bytes("two"), message_bytes("three"), mailbox="Work")
        hands.move(TRASH, source="Work", uids=NumberSet.parse("3"))
        # Gmail shows what has arrived in an open mailbox only when it is polled.
        assert hands.replay() is ReplayEnd.DONE
        hands.agree()
        assert hands.subjects("Work") == [b"one", b"two"]
        assert hands.subjects(TRASH) == [b"three"]

    def test_drafts_are_appended_where_they_are(self, hands: GmailHands) -> None:
        hands.sync()
        hands.append(message_bytes("one"), mailbox=DRAFTS, flags=("\\Draft",))
        assert hands.replay() is ReplayEnd.DONE
        assert [command.split(b" (")[0] for command in hands.gmail.asked(b"APPEND")] == [b'APPEND "[Gmail]/Drafts"']
        assert hands.stored() == []
        hands.agree()

    @pytest.mark.parametrize("labels", [(), ("Work",), ("\\Inbox", "Work")])
    def test_what_gmail_has_already_is_not_there_twice(self, hands: GmailHands, labels: tuple[str, ...]) -> None:
        data = message_bytes("one")
        (msgid,) = [hands.gmail.account.deliver(data, labels)]
        hands.sync()
        hands.append(data, mailbox="Work", flags=("\\Seen",))
        hands.store("\\Answered", mailbox="Work")
        assert hands.replay() is ReplayEnd.DONE
        assert hands.gmail.account.mails[msgid].labels == {*labels, "Work"}
        assert len(hands.gmail.account.mails) == 1
        hands.sync()
        hands.agree()
        assert hands.subjects("Work") == hands.subjects(ALL) == [b"one"]

    def test_sent_mail_is_filed_once(self, hands: GmailHands) -> None:
        hands.sync()
        data = message_bytes("sent")
        hands.append(data, mailbox=SENT)
        hands.gmail.account.deliver(data.replace(b"Subject", b"Received: by gmail\r\nSubject"), ["\\Sent"])
        assert hands.replay() is ReplayEnd.DONE
        assert not hands.gmail.asked(b"APPEND")
        hands.sync()
        assert len(hands.here()[SENT]) == len(hands.here()[ALL]) == 1

    def test_refused_for_good_it_is_in_recovered_alone(self, hands: GmailHands) -> None:
        hands.sync()
        hands.append(message_bytes("one"), mailbox="Work")
        hands.proxy.arm(Fault(Kind.NO, "APPEND", text="[CANNOT] No"))
        hands.replay()
        assert {name: len(rows) for name, rows in hands.here().items() if rows} == {"Recovered": 1}

    def test_copied_on_before_gmail_hears_of_it(self, hands: GmailHands) -> None:
        hands.sync()
        hands.append(message_bytes("one"), mailbox="Work")
        hands.move(INBOX, source="Work")
        hands.store("\\Seen")
        assert hands.here()[ALL][0][1] == {"\\Seen"}
        assert hands.replay() is ReplayEnd.DONE
        hands.agree()
        assert hands.subjects("Work") == []


@pytest.mark.parametrize("kind", [Kind.CUT_BEFORE, Kind.CUT_AFTER, Kind.CUT_IN_ANSWER], ids=lambda kind: kind.name)
class TestCut:
    def test_labels(self, hands: GmailHands, kind: Kind) -> None:
        hands.started("one", "two")
        hands.move("Work")
        hands.proxy.arm(Fault(kind, "UID STORE", after=4))
        assert hands.replay() is ReplayEnd.DONE
        assert len(hands.proxy.fired) == 1
        hands.agree()

    @pytest.mark.parametrize("mailbox", ["Work", DRAFTS])
    def test_append(self, hands: GmailHands, kind: Kind, mailbox: str) -> None:
        hands.sync()
        hands.append(message_bytes("one"), message_bytes("two"), mailbox=mailbox)
        hands.proxy.arm(Fault(kind, "APPEND", number=2, after=4))
        assert hands.replay() is ReplayEnd.DONE
        assert len(hands.proxy.fired) == 1
        assert len(hands.gmail.account.mails) == 2
        hands.sync()
        hands.agree()

    def test_trash(self, hands: GmailHands, kind: Kind) -> None:
        hands.started("one", labels=("\\Inbox", "Work"))
        hands.move(TRASH)
        hands.proxy.arm(Fault(kind, "UID MOVE", after=4))
        assert hands.replay() is ReplayEnd.DONE
        assert len(hands.proxy.fired) == 1
        hands.agree()


class TestTwoSided:
    def test_the_same_label_taken_off_on_both_sides(self, hands: GmailHands) -> None:
        (msgid,) = hands.started("one", labels=("\\Inbox", "Work"))
        hands.delete(mailbox="Work")
        hands.gmail.account.unlabel(msgid, "Work")
        hands.sync()
        hands.replay()
        hands.agree()
        assert hands.subjects("Work") == []

    def test_other_labels_survive(self, hands: GmailHands) -> None:
        (msgid,) = hands.started("one")
        hands.gmail.account.create_label("Family")
        hands.move("Work")
        hands.gmail.account.label(msgid, "Family")
        hands.sync()
        assert hands.subjects("Work") == hands.subjects("Family") == [b"one"]
        assert hands.subjects(INBOX) == []
        hands.replay()
        hands.agree()
        assert hands.gmail.account.mails[msgid].labels == {"Work", "Family"}

    def test_deleted_there_while_it_is_labelled_here(self, hands: GmailHands) -> None:
        msgid = hands.started(*"1234")[0]
        hands.copy("Work", uids=FIRST)
        hands.gmail.account.delete_for_ever(msgid)
        hands.sync()
        assert hands.here()["Work"] == []
        hands.replay()
        hands.agree()

    def test_a_read_from_before_does_not_undo_it(self, hands: GmailHands) -> None:
        (msgid,) = hands.started("one")
        hands.move("Work")
        # The whole of All Mail is read while the change waits, and after it has settled.
        for _ in range(2):
            Checkpoint.objects.update(full_wanted=True)
            hands.sync()
            assert hands.subjects("Work") == [b"one"]
            assert hands.subjects(INBOX) == []
            hands.replay()
        assert hands.gmail.account.mails[msgid].labels == {"Work"}
        hands.sync()
        assert Mutation.objects.count() == 0

    def test_a_dropped_change_shows_what_gmail_has(self, hands: GmailHands) -> None:
        hands.started("one")
        hands.move("Work")
        drop_mutations(account_id=hands.account.pk, ids=list(Mutation.objects.values_list("pk", flat=True)))
        assert hands.subjects("Work") == []
        assert hands.subjects(INBOX) == [b"one"]
