"""The upstream's list of mailboxes as a run takes it over: namespaces, roles, renames, lists not to be believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest

from mailcache.models import Account, AccountState, Mailbox, Message
from sync.account_run import SliceEnd, run_account_until_done
from tests.builders import let_time_pass, make_account
from tests.sync.many_mailboxes import ManyMailboxes, folder

pytestmark = pytest.mark.django_db(transaction=True)

Start = Callable[..., tuple[ManyMailboxes, Account]]
LIST_STATUS = b"LIST-EXTENDED LIST-STATUS OBJECTID SPECIAL-USE"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start an upstream; returns it and its account."""
    with ExitStack() as stack:

        def begin(**options: bytes) -> tuple[ManyMailboxes, Account]:
            server = stack.enter_context(ManyMailboxes(**options))
            return server, make_account(port=server.port)

        yield begin


def sync(account: Account) -> SliceEnd:
    return run_account_until_done(account.pk)


def names() -> set[str]:
    return set(Mailbox.objects.values_list("name", flat=True))


def messages() -> dict[int, str]:
    """Return the name of the mailbox of each message, by the message's row."""
    return dict(Message.objects.values_list("pk", "mailbox__name"))


class TestNamespaces:
    """Quirks 35 and 36."""

    NAMESPACE = b'(("INBOX." ".")) (("user." ".")) (("shared." "."))'

    def test_the_personal_prefix_is_left_out_and_shared_mailboxes_keep_their_names(self, start: Start) -> None:
        server, account = start(delimiter=b".", namespace=self.NAMESPACE)
        server.folders |= {
            b"INBOX.Sent": folder(2, 1),
            b"INBOX.Projects.2023": folder(3, 1),
            b"user.ann.Sent": folder(4, 1),
            b"shared": folder(5, attributes="\\Noselect"),
        }

        assert sync(account) is SliceEnd.DONE

        rows = {row.name: row for row in Mailbox.objects.all()}
        assert rows.keys() == {"INBOX", "Sent", "Projects/2023", "user/ann/Sent", "shared"}
        assert [name for name, row in rows.items() if row.role == "sent"] == ["Sent"]
        assert [name for name, row in rows.items() if not row.selectable] == ["shared"]
        assert {name for name, row in rows.items() if not row.personal} == {"user/ann/Sent", "shared"}
        assert [row.messages for name, row in rows.items() if name.endswith("Sent")] == [1, 1]

    def test_names_stay_when_nothing_is_new(self, start: Start) -> None:
        server, account = start(delimiter=b".", namespace=self.NAMESPACE)
        server.folders[b"INBOX.Sent"] = folder(2)
        sync(account)
        server.commands.clear()

        sync(account)

        assert names() == {"INBOX", "Sent"}
        assert b"NAMESPACE" not in server.commands


class TestNames:
    """Quirk 18."""

    def test_odd_names_come_through(self, start: Start) -> None:
        server, account = start(delimiter=b".")
        server.folders |= {
            name: folder(number, 1)
            for number, name in enumerate([b"Ends in space ", b"a/b", b"Entw&APw-rfe", b"Accounts"], 2)
        }

        assert sync(account) is SliceEnd.DONE

        assert names() == {"INBOX", "Ends in space ", "a~2Fb", "Entwürfe", "~41ccounts"}
        assert Message.objects.count() == 4
        assert Mailbox.objects.get(role="drafts").name == "Entwürfe"


class TestRenames:
    @pytest.mark.parametrize("capabilities", [LIST_STATUS, b""])
    def test_by_id_or_by_uidvalidity_and_content(self, start: Start, capabilities: bytes) -> None:
        server, account = start(capabilities=capabilities)
        server.folders |= {
            b"Work": folder(2, 3, object_id="w"),
            b"Work/Old": folder(3, 12, object_id="o"),
            b"Work/Empty": folder(4, object_id="e"),
        }
        sync(account)
        before = messages()
        server.folders = {name.replace(b"Work", b"Jobs"): each for name, each in server.folders.items()}
        server.commands.clear()

        assert sync(account) is SliceEnd.DONE

        assert names() == {"INBOX", "Jobs", "Jobs/Old", "Jobs/Empty"}
        assert messages() == {pk: name.replace("Work", "Jobs") for pk, name in before.items()}
        assert server.bodies_asked() == []
        if not capabilities:
            # Of each that is new: what its UIDVALIDITY is; of the suspects: ten messages in one command.
            assert len([command for command in server.asked(b"UID FETCH") if b"RFC822.SIZE" in command]) == 2

    @pytest.mark.parametrize("ids", [("1", "2"), ("", "")], ids=["by id", "by uidvalidity and content"])
    def test_two_swap_their_names(self, start: Start, ids: tuple[str, str]) -> None:
        server, account = start(capabilities=LIST_STATUS)
        server.folders |= {b"One": folder(2, 2, object_id=ids[0]), b"Two": folder(3, 2, object_id=ids[1])}
        sync(account)
        before = messages()
        server.folders[b"One"], server.folders[b"Two"] = server.folders[b"Two"], server.folders[b"One"]
        server.commands.clear()

        assert sync(account) is SliceEnd.DONE

        swapped = {"One": "Two", "Two": "One"}
        assert messages() == {pk: swapped[name] for pk, name in before.items()}
        assert server.bodies_asked() == []

    def test_two_that_were_numbered_anew_have_not_swapped(self, start: Start) -> None:
        server, account = start(capabilities=LIST_STATUS)
        server.folders |= {b"One": folder(2, 2), b"Two": folder(3, 2)}
        sync(account)
        before = messages()
        server.folders[b"One"].uidvalidity, server.folders[b"Two"].uidvalidity = 3, 2

        assert sync(account) is SliceEnd.DONE

        assert messages() == before

    def test_equal_numbers_alone_are_no_proof(self, start: Start) -> None:
        """Some servers number all mailboxes alike, or use the second of creation."""
        server, account = start()
        server.folders[b"Old"] = folder(2, 3)
        sync(account)
        del server.folders[b"Old"]
        server.folders[b"New"] = folder(2, 5)

        sync(account)

        assert names() == {"INBOX", "Old", "New"}

    def test_a_new_mailbox_that_cannot_be_opened(self, start: Start) -> None:
        server, account = start()
        server.folders[b"Old"] = folder(2, 3)
        sync(account)
        del server.folders[b"Old"]
        server.folders[b"Phantom"] = folder(2, attributes="\\Noselect")

        assert sync(account) is SliceEnd.DONE

        assert names() == {"INBOX", "Old", "Phantom"}


class TestListsNotToBeBelieved:
    """Field notes, R20 and G20: an empty or partial LIST deletes nothing."""

    def full(self, start: Start) -> tuple[ManyMailboxes, Account]:
        server, account = start()
        server.folders |= {name: folder(number) for number, name in enumerate((b"A", b"B", b"C"), 2)}
        sync(account)
        return server, account

    @pytest.mark.parametrize("left", [[], [b"A"]])
    def test_without_inbox(self, start: Start, left: list[bytes]) -> None:
        server, account = self.full(start)
        server.folders = {name: server.folders[name] for name in left}

        for _ in range(3):
            assert sync(account) is SliceEnd.FAILED
            let_time_pass(account, timedelta(hours=1))

        assert len(names()) == 4

    @pytest.mark.parametrize("end", [b"{tag} NO not now\r\n", b"{tag} BAD what\r\n"])
    def test_that_ends_badly(self, start: Start, end: bytes) -> None:
        server, account = self.full(start)
        server.folders = {b"INBOX": server.folders[b"INBOX"]}
        server.list_ends = end

        for _ in range(3):
            assert sync(account) is SliceEnd.FAILED
            let_time_pass(account, timedelta(hours=1))

        assert len(names()) == 4
        account.refresh_from_db()
        assert account.state == AccountState.FAILING

    def test_with_far_fewer_than_before(self, start: Start) -> None:
        server, account = self.full(start)
        server.folders, kept = {b"INBOX": server.folders[b"INBOX"]}, server.folders

        for _ in range(3):
            assert sync(account) is SliceEnd.DONE
            let_time_pass(account, timedelta(minutes=2))
        assert len(names()) == 4
        account.refresh_from_db()
        assert "3 of 4" in account.notice
        server.folders = kept
        sync(account)

        account.refresh_from_db()
        assert account.notice == ""
        assert len(names()) == 4
