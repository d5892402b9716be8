"""Clients that change mail, against a real frontend: what is answered, what others see, and what is queued."""

from __future__ import annotations

import imaplib
import re
from typing import Any

import pytest

from mailcache.models import Account, Content, Mailbox, Message, Mutation, MutationKind
from mailcache.segments import read_range
from tests.builders import PASSWORD, make_account, make_fence, make_mailboxes, message_bytes
from tests.imapfront.fixtures import MirroredAccount
from tests.imapfront.frontend import Frontend

# The types of what imaplib answers are unions of everything; what is asserted here is their content.
Client = Any


@pytest.fixture
def client(frontend: Frontend, mirrored: MirroredAccount) -> Client:
    return log_in(frontend, mirrored)


@pytest.fixture
def archive(mirrored: MirroredAccount) -> Mailbox:
    return make_mailboxes(mirrored.fence, "Archive")[0]


def log_in(frontend: Frontend, mirrored: MirroredAccount) -> Client:
    connection = frontend.connect()
    connection.login(mirrored.user.email, PASSWORD)
    return connection


def with_modseqs(frontend: Frontend, client: Client, mirrored: MirroredAccount) -> Client:
    """Have two messages in the INBOX that is open for a client that knows modseqs; returns another client of it."""
    mirrored.add({1: message_bytes(), 2: message_bytes()})
    other = log_in(frontend, mirrored)
    client._simple_command("ENABLE", "CONDSTORE")
    client.select("INBOX")
    other.select("INBOX")
    return other


def queue() -> list[tuple[str, int | None]]:
    """Return the kinds queued, with the upstream UIDs that they act on."""
    return list(Mutation.objects.order_by("pk").values_list("kind", "remote__uid"))


def flags(client: Client, numbers: str) -> list[bytes]:
    client.untagged_responses.clear()
    return [re.sub(rb".*FLAGS \(|\).*", b"", line) for line in client.uid("FETCH", numbers, "(FLAGS)")[1]]


def fetched(client: Client) -> list[bytes]:
    """Return the FETCH responses since the last look, as far as their first literal."""
    lines = [line[0] if isinstance(line, tuple) else line for line in client.response("FETCH")[1]]
    return [line for line in lines if line != b")"]


class TestStore:
    def test_three_forms(self, client: Client, mirrored: MirroredAccount) -> None:
        mirrored.add({1: message_bytes(), 2: message_bytes()}, "\\Seen", "$old")
        client.select("INBOX")

        assert client.store("1:2", "+FLAGS", "(\\Flagged $new)")[0] == "OK"
        assert client.store("1", "-FLAGS", "$OLD")[1] == [b"1 (FLAGS (\\Flagged \\Seen $new \\Recent))"]
        assert client.uid("STORE", "2", "FLAGS", "(\\Answered)")[1] == [b"2 (UID 2 FLAGS (\\Answered \\Recent))"]
        assert client.store("1", "+FLAGS.SILENT", "\\Deleted")[1] == [None]

        assert queue() == [("store", 1), ("store", 2), ("store", 1), ("store", 2), ("store", 1)]
        replaced = Mutation.objects.order_by("pk")[3]
        assert (replaced.add_flags, replaced.remove_flags) == (2, 1 | 4)
        assert sorted(replaced.remove_keywords) == ["$new", "$old"]

    def test_other_sessions_see_it_at_their_next_command(
        self, frontend: Frontend, client: Client, mirrored: MirroredAccount
    ) -> None:
        mirrored.add({1: message_bytes()})
        other = log_in(frontend, mirrored)
        client.select("INBOX")
        other.select("INBOX")
        client.store("1", "+FLAGS", "\\Flagged")
        other.noop()
        assert b"\\Flagged" in other.response("FETCH")[1][0]
        client.noop()
        assert client.response("FETCH")[1] == [None]

    def test_silent_hides_nothing_of_what_others_did(
        self, frontend: Frontend, client: Client, mirrored: MirroredAccount
    ) -> None:
        mirrored.add({1: message_bytes(), 2: message_bytes()})
        other = log_in(frontend, mirrored)
        client.select("INBOX")
        other.select("INBOX")
        other.store("1:2", "+FLAGS", "\\Flagged")
        _, told = client.store("1", "+FLAGS.SILENT", "\\Seen")
        assert re.fullmatch(rb"1 \(FLAGS \(\\Flagged \\Seen.*\)\)", told[0])
        client.noop()
        assert [line.split(b" ")[0] for line in client.response("FETCH")[1]] == [b"2"]

    def test_no_modseq_is_told_before_a_lower_one(
        self, frontend: Frontend, client: Client, mirrored: MirroredAccount
    ) -> None:
        other = with_modseqs(frontend, client, mirrored)
        other.store("2", "+FLAGS", "\\Flagged")
        _, told = client.store("1", "+FLAGS.SILENT", "\\Seen")
        assert re.fullmatch(rb"1 \(MODSEQ \(\d+\)\)", told[0])
        assert re.match(rb"2 \(FLAGS \(\\Flagged", told[1])
        client.noop()
        assert client.response("FETCH")[1] == [None]

    @pytest.mark.parametrize("command", [("STORE", "1", "+FLAGS", "(\\Seen)"), ("FETCH", "1", "(FLAGS MODSEQ BODY[])")])
    def test_nor_by_a_command_that_changes_nothing(
        self, frontend: Frontend, client: Client, mirrored: MirroredAccount, command: tuple[str, ...]
    ) -> None:
        other = with_modseqs(frontend, client, mirrored)
        other.store("2", "+FLAGS", "\\Flagged")
        other.store("1", "+FLAGS", "\\Seen")
        client._simple_command(*command)
        told = {line[:1]: int(re.findall(rb"MODSEQ \((\d+)", line)[0]) for line in fetched(client)}
        assert told == {b"1": Message.objects.get(uid=1).modseq, b"2": Message.objects.get(uid=2).modseq}

    def test_the_first_command_that_names_modseqs_is_told_how_far_they_are(
        self, client: Client, mirrored: MirroredAccount
    ) -> None:
        mirrored.add({1: message_bytes()})
        client.select("INBOX")
        modseq = client.response("HIGHESTMODSEQ")[1]
        for told in (modseq, [None]):
            client.fetch("1", "(MODSEQ)")
            assert client.response("HIGHESTMODSEQ")[1] == told

    def test_unchangedsince(self, client: Client, mirrored: MirroredAccount) -> None:
        mirrored.add({1: message_bytes(), 2: message_bytes()})
        client.select("INBOX")
        modseq = int(re.findall(rb"MODSEQ \((\d+)", client.fetch("1", "(MODSEQ)")[1][0])[0])
        client.store("1", "+FLAGS", "\\Flagged")
        typ, data = client._simple_command("STORE", "1:2", f"(UNCHANGEDSINCE {modseq})", "+FLAGS", "(\\Seen)")
        assert (typ, data[0].split(b"]")[0]) == ("OK", b"[MODIFIED 1")
        assert flags(client, "1") == [b"\\Flagged \\Recent"]
        assert flags(client, "2") == [b"\\Seen \\Recent"]

    def test_a_mailbox_opened_for_reading_stays_as_it_is(self, client: Client, mirrored: MirroredAccount) -> None:
        mirrored.add({1: message_bytes()}, "\\Deleted")
        client.select("INBOX", readonly=True)
        for command in (("STORE", "1", "+FLAGS", "(\\Seen)"), ("EXPUNGE",), ("MOVE", "1", "INBOX")):
            assert client._simple_command(*command)[0] == "NO"
        client.close()
        assert Message.objects.count() == 1
        assert queue() == []


class TestAppend:
    def test_small(self, client: Client, mirrored: MirroredAccount) -> None:
        data = message_bytes("kept here") + b"\x00 even a NUL\r\n"
        typ, (told,) = client.append("INBOX", "(\\Seen $mine)", '"17-May-2024 10:30:00 +0200"', data)
        assert typ == "OK"
        uidvalidity = mirrored.inbox.uidvalidity
        assert re.search(rb"APPENDUID %d 1\]" % uidvalidity, told)
        client.select("INBOX")
        _, answer = client.fetch("1", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
        assert answer[0][1] == data
        assert b"$mine" in answer[0][0]
        assert b'"17-May-2024 10:30:00 +0200"' in answer[0][0]
        assert bytes(Content.objects.get().inline or b"") == data
        (mutation,) = Mutation.objects.all()
        assert (mutation.kind, mutation.target, mutation.content) == ("append", mirrored.inbox, Content.objects.get())
        assert Account.objects.get().used_bytes == len(data)

    def test_large_messages_go_to_a_segment(self, client: Client, mirrored: MirroredAccount) -> None:
        data = message_bytes(body="x" * 76 + "\r\n") + b"y" * 300_000
        assert client.append("INBOX", "", "", data)[0] == "OK"
        content = Content.objects.select_related("segment").get()
        assert content.segment is not None
        assert read_range(content.segment.name, 0, content.size) == data
        # The same bytes again: kept once.
        assert client.append("INBOX", "", "", data)[0] == "OK"
        assert Content.objects.count() == 1
        assert Account.objects.get().used_bytes == len(data)

    def test_several_at_once(self, client: Client, mirrored: MirroredAccount) -> None:
        one, two = message_bytes("one"), message_bytes("two")
        client.send(b"a1 APPEND INBOX (\\Seen) {%d+}\r\n%b {%d+}\r\n%b\r\n" % (len(one), one, len(two), two))
        assert re.match(rb"a1 OK \[APPENDUID \d+ 1:2\]", client.readline())
        assert list(Message.objects.order_by("uid").values_list("flags", flat=True)) == [1, 0]

    def test_into_a_mailbox_that_is_not_there(self, client: Client) -> None:
        typ, (told,) = client.append("Nowhere", "", "", message_bytes())
        assert typ == "NO"
        assert told.startswith(b"[TRYCREATE]")
        assert Content.objects.count() == 0

    def test_over_quota(self, client: Client, mirrored: MirroredAccount) -> None:
        Account.objects.update(quota_bytes=10)
        typ, (told,) = client.append("INBOX", "", "", message_bytes())
        assert (typ, told.split(b" ")[0]) == ("NO", b"[OVERQUOTA]")
        assert (Message.objects.count(), Content.objects.count(), Mutation.objects.count()) == (0, 0, 0)

    def test_too_large(self, client: Client) -> None:
        client.send(b"a1 APPEND INBOX {%d}\r\n" % (200 * 1024 * 1024))
        assert client.readline().startswith(b"a1 NO [TOOBIG]")
        assert client.noop()[0] == "OK"

    def test_an_open_mailbox_hears_of_it(self, client: Client, mirrored: MirroredAccount) -> None:
        client.select("INBOX")
        client.append("INBOX", "", "", message_bytes())
        assert client.response("EXISTS")[1] == [b"0", b"1"]


class TestExpunge:
    def test_expunge(self, frontend: Frontend, client: Client, mirrored: MirroredAccount) -> None:
        mirrored.add({uid: message_bytes() for uid in range(1, 6)})
        other = log_in(frontend, mirrored)
        client.select("INBOX")
        other.select("INBOX")
        client.store("2,4:5", "+FLAGS.SILENT", "\\Deleted")
        assert client.expunge()[1] == [b"5", b"4", b"2"]
        other.noop()
        assert other.response("EXPUNGE")[1] == [b"5", b"4", b"2"]
        # What was changed before a message went is nothing to replay any more.
        assert queue() == [("expunge", 2), ("expunge", 4), ("expunge", 5)]
        inbox = Mailbox.objects.get(pk=mirrored.inbox.pk)
        assert (inbox.messages, inbox.deleted) == (2, 0)

    def test_uid_expunge_is_confined(self, client: Client, mirrored: MirroredAccount) -> None:
        mirrored.add({uid: message_bytes() for uid in (1, 2, 3)}, "\\Deleted")
        client.select("INBOX")
        assert client.uid("EXPUNGE", "2:9")[0] == "OK"
        assert list(Message.objects.values_list("uid", flat=True)) == [1]

    def test_close_expunges_without_a_word(self, client: Client, mirrored: MirroredAccount) -> None:
        mirrored.add({1: message_bytes(), 2: message_bytes()})
        client.select("INBOX")
        client.store("1", "+FLAGS.SILENT", "\\Deleted")
        client.close()
        assert client.response("EXPUNGE")[1] == [None]
        assert list(Message.objects.values_list("uid", flat=True)) == [2]

    def test_unselect_does_not(self, client: Client, mirrored: MirroredAccount) -> None:
        mirrored.add({1: message_bytes()}, "\\Deleted")
        client.select("INBOX")
        client.unselect()
        assert Message.objects.count() == 1


class TestTransfer:
    def test_copy(self, client: Client, mirrored: MirroredAccount, archive: Mailbox) -> None:
        mirrored.add({3: message_bytes("a"), 7: message_bytes("b")}, "\\Seen")
        client.select("INBOX")
        typ, (told,) = client.copy("1:2", "Archive")
        assert typ == "OK"
        assert told.startswith(b"[COPYUID %d 3,7 1:2]" % archive.uidvalidity)
        client.select("Archive")
        assert client.fetch("1", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1] == b"Subject: a\r\n\r\n"
        assert queue() == [("copy", 3), ("copy", 7)]
        assert Content.objects.count() == 2

    def test_move(self, frontend: Frontend, client: Client, mirrored: MirroredAccount, archive: Mailbox) -> None:
        mirrored.add({1: message_bytes(), 2: message_bytes()})
        other = log_in(frontend, mirrored)
        other.select("Archive")
        client.select("INBOX")
        client.uid("STORE", "2", "+FLAGS", "(\\Flagged)")
        typ, _ = client.uid("MOVE", "2", "Archive")
        assert typ == "OK"
        assert client.response("COPYUID")[1] == [b"%d 2 1" % archive.uidvalidity]
        assert client.response("EXPUNGE")[1] == [b"2"]
        other.noop()
        assert other.response("EXISTS")[1] == [b"0", b"1"]
        # The flag is upstream before the move, so that it goes along.
        assert queue() == [("store", 2), ("move", 2)]
        moved = Message.objects.get(mailbox=archive)
        assert set(Mutation.objects.values_list("message", flat=True)) == {moved.pk}

    def test_what_is_not_upstream_yet_waits_for_what_puts_it_there(
        self, client: Client, mirrored: MirroredAccount, archive: Mailbox
    ) -> None:
        client.append("INBOX", "", "", message_bytes())
        client.select("INBOX")
        client.store("1", "+FLAGS", "\\Flagged")
        client.uid("MOVE", "1", "Archive")
        client.select("Archive")
        assert list(Mutation.objects.filter(kind="store").values_list("depends_on__kind", flat=True)) == ["append"]
        client.store("1", "+FLAGS.SILENT", "\\Deleted")
        client.expunge()
        append, move, expunge = Mutation.objects.order_by("pk")
        assert [one.kind for one in (append, move, expunge)] == ["append", "move", "expunge"]
        assert (move.depends_on, expunge.depends_on) == (append, move)
        assert not Mutation.objects.exclude(remote=None).exists()
        assert Message.objects.count() == 0

    @pytest.mark.parametrize("command", ["COPY", "MOVE"])
    def test_all_or_none(
        self, frontend: Frontend, client: Client, mirrored: MirroredAccount, archive: Mailbox, command: str
    ) -> None:
        mirrored.add({1: message_bytes(), 2: message_bytes()})
        other = log_in(frontend, mirrored)
        client.select("INBOX")
        other.select("INBOX")
        other.store("2", "+FLAGS", "\\Deleted")
        other.expunge()
        typ, (told,) = client._simple_command(command, "1:2", "Archive")
        assert (typ, told.split(b" ")[0]) == ("NO", b"[EXPUNGEISSUED]")
        assert list(Message.objects.values_list("mailbox", "uid")) == [(mirrored.inbox.pk, 1)]

    def test_trycreate(self, client: Client, mirrored: MirroredAccount) -> None:
        mirrored.add({1: message_bytes()})
        client.select("INBOX")
        for move in ("COPY", "MOVE"):
            typ, (told,) = client.uid(move, "1", "Nowhere")
            assert (typ, told.split(b" ")[0]) == ("NO", b"[TRYCREATE]")

    def test_to_another_account(self, client: Client, mirrored: MirroredAccount) -> None:
        second = make_account(mirrored.user)
        (theirs,) = make_mailboxes(make_fence(second))
        data = message_bytes("across")
        mirrored.add({4: data}, "\\Seen")
        client.select("INBOX")
        typ, _ = client.uid("MOVE", "4", f'"Accounts/{second.address}/INBOX"')
        assert typ == "OK"
        assert client.response("EXPUNGE")[1] == [b"1"]
        copied = Message.objects.select_related("content").get()
        assert (copied.mailbox, copied.flags) == (theirs, 1)
        assert copied.content is not None
        assert bytes(copied.content.inline or b"") == data
        assert list(Mutation.objects.order_by("pk").values_list("account", "kind")) == [
            (second.pk, MutationKind.APPEND),
            (mirrored.inbox.account_id, MutationKind.EXPUNGE),
        ]


class TestMailboxes:
    def names(self, client: Client) -> set[str]:
        return {line.decode().split(' "/" ')[1] for line in client.list()[1]}

    def test_create_rename_delete(self, client: Client, mirrored: MirroredAccount) -> None:
        client.append("INBOX", "", "", message_bytes())
        assert client.create("Work/2026/")[0] == "OK"
        assert client.create("Work/2026")[1][0].startswith(b"[ALREADYEXISTS]")
        client.select("INBOX")
        client.copy("1", "Work/2026")
        uidvalidity = client.status("Work/2026", "(UIDVALIDITY UIDNEXT MESSAGES)")
        assert client.create("Work")[0] == "OK"
        assert client.rename("Work", "Done")[0] == "OK"
        assert self.names(client) == {"INBOX", "Done", "Done/2026"}
        assert (
            client.status("Done/2026", "(UIDVALIDITY UIDNEXT MESSAGES)")[1][0].split(b" (")[1]
            == (uidvalidity[1][0].split(b" (")[1])
        )
        assert client.delete("Done/2026")[0] == "OK"
        assert self.names(client) == {"INBOX", "Done"}
        assert client.select("Done/2026")[0] == "NO"
        assert client.create("Done/2026")[0] == "OK"
        kinds = [kind for kind, _ in queue()]
        assert kinds == ["append", "create", "copy", "create", "rename", "delete", "create"]

    def test_special_use(self, client: Client) -> None:
        assert client._simple_command("CREATE", "Papers", "(USE (\\Archive))")[0] == "OK"
        assert any(b"\\Archive" in line and b"Papers" in line for line in client.list()[1])
        typ, (told,) = client._simple_command("CREATE", "x", "(USE (\\Unheard))")
        assert (typ, told.split(b" ")[0]) == ("NO", b"[USEATTR]")

    @pytest.mark.parametrize("name", ["Recovered", "accounts/x", "a//b", "/a", "x" * 300])
    def test_names_that_cannot_be(self, client: Client, name: str) -> None:
        assert client.create(name)[0] == "NO"
        assert Mutation.objects.count() == 0

    def test_inbox_is_there_for_ever(self, client: Client, mirrored: MirroredAccount) -> None:
        mirrored.add({1: message_bytes()})
        assert client.delete("inbox")[0] == "NO"
        assert client.rename("INBOX", "Old")[0] == "OK"
        assert self.names(client) == {"INBOX", "Old"}
        assert client.status("Old", "(MESSAGES)")[1] == [b"Old (MESSAGES 1)"]
        assert client.status("INBOX", "(MESSAGES)")[1] == [b"INBOX (MESSAGES 0)"]

    def test_subscriptions(self, client: Client, archive: Mailbox) -> None:
        assert client.unsubscribe("Archive")[0] == "OK"
        assert not any(b"Archive" in line for line in client.lsub()[1] if line)
        assert client.subscribe("Archive")[0] == "OK"
        assert [kind for kind, _ in queue()] == ["unsubscribe", "subscribe"]
        assert client.subscribe("Nowhere")[0] == "NO"

    def test_who_has_a_deleted_mailbox_open_is_told(
        self, frontend: Frontend, client: Client, mirrored: MirroredAccount, archive: Mailbox
    ) -> None:
        other = log_in(frontend, mirrored)
        other.select("Archive")
        client.delete("Archive")
        assert other.noop()[0] == "OK"
        with pytest.raises(imaplib.IMAP4.abort, match="deleted"):
            other.noop()
