"""Locks on all mailboxes that show a message: in one order, and complete although others change labels meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from mailcache.errors import NoSuchMailbox
from mailcache.flags import FlagSet
from mailcache.journal import lock_mailbox
from mailcache.models import Content, Mailbox, MailboxRole, Message, Mutation
from mailcache.services.contents import AddedContents, add_or_share_contents
from mailcache.services.flags import store_flags
from mailcache.services.ingest_list import delete_mailbox_rows, ingest_mailbox_list
from mailcache.services.ingest_skeleton import SkeletonRow, add_messages
from mailcache.services.labels import apply_labels, set_labels
from mailcache.services.leases import Fence
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.wire.number_set import NumberSet
from tests.builders import (
    INTERNAL_DATE,
    UIDVALIDITY,
    make_account,
    make_fence,
    make_mailboxes,
    message_bytes,
    upstream_mailbox,
)
from tests.locks import somebody_waits
from tests.mailcache.deltas import adding
from tests.mailcache.queued import QueuedAccount
from tests.waiting import wait_until


@pytest.mark.django_db
class TestOrder:
    def test_what_is_missing_is_locked_in_order_and_the_work_done_once(self) -> None:
        first, second, third = make_mailboxes(make_fence(make_account()), "A", "B", "C")
        seen: list[int] = []

        def work(locks: Locks) -> int:
            seen.append(locks[second.pk].id)
            locks.require({first.pk, third.pk})
            Mailbox.objects.filter(pk=first.pk).update(messages=1)
            return locks[first.pk].uidnext

        with CaptureQueriesContext(connection) as queries:
            assert with_locks([second.pk], work) == 1
        assert len(seen) == 2
        assert [query["sql"].count("ORDER BY mailbox.id") for query in queries if "FOR NO KEY" in query["sql"]] == [
            1,
            1,
        ]
        first.refresh_from_db()
        assert first.messages == 1

    def test_a_mailbox_that_does_not_exist(self) -> None:
        with pytest.raises(NoSuchMailbox):
            with_locks([0], lambda locks: None)

    def test_only_accounts_with_labels_share_messages(self) -> None:
        fence = make_fence(make_account())
        inbox = make_mailboxes(fence, "INBOX", "Work")[0]
        assert not lock_mailbox(inbox.pk).shares_messages
        set_labels(fence=fence, labels={b"Work": "Work"})
        assert lock_mailbox(inbox.pk).shares_messages


@pytest.fixture
def shared(transactional_db: None) -> tuple[Fence, int, dict[str, Mailbox]]:
    account = make_account()
    fence = make_fence(account)
    listed = [upstream_mailbox("INBOX", MailboxRole.INBOX), upstream_mailbox("All", MailboxRole.ALL)]
    ingest_mailbox_list(fence=fence, listed=listed)
    set_labels(fence=fence, labels={b"INBOX": "\\Inbox"})
    mailboxes = {mailbox.name: mailbox for mailbox in Mailbox.objects.mirrored(account.pk)}
    row = SkeletonRow(1, FlagSet(), INTERNAL_DATE, 100, upstream_id="7")
    add_messages(fence=fence, mailbox_id=mailboxes["All"].pk, uidvalidity=UIDVALIDITY, rows=[row])
    return fence, account.user_id, mailboxes


def test_a_message_that_gets_a_label_while_its_flags_change_has_them_too(
    shared: tuple[Fence, int, dict[str, Mailbox]],
) -> None:
    fence, user_id, mailboxes = shared
    everything = mailboxes["All"].pk

    def store() -> None:
        store_flags(user_id=user_id, mailbox_id=everything, uids=NumberSet.parse("1"), store=adding("\\Seen"))

    with ThreadPoolExecutor(1) as client:
        with transaction.atomic():
            apply_labels(fence=fence, source_mailbox_id=everything, uidvalidity=UIDVALIDITY, labels={1: ("\\Inbox",)})
            stored = client.submit(_beside, store)
            wait_until(somebody_waits)
        stored.result(timeout=20)
    assert list(Message.objects.values_list("flags", flat=True)) == [1, 1]


def test_whoever_waits_for_a_mailbox_holds_nothing_of_the_queue(queued: QueuedAccount) -> None:
    """A change of flags follows its message out of a mailbox that goes, while a client works where it goes to."""
    source, elsewhere = make_mailboxes(queued.sync_fence, "INBOX", "Archive", "Source", "Elsewhere")[2:]
    data = message_bytes()
    queued.arrive(source, 1, data)
    queued.arrive(elsewhere, 1, data)
    store = queued.store(source, "\\Seen", uid=1)
    locked = threading.Event()

    def act_as_a_client() -> None:
        with transaction.atomic():
            lock_mailbox(elsewhere.pk)
            locked.set()
            wait_until(somebody_waits)
            Mutation.objects.filter(pk=store.pk).update(last_error="")

    with ThreadPoolExecutor(1) as client:
        done = client.submit(_beside, act_as_a_client)
        assert locked.wait(timeout=20)
        with transaction.atomic():
            delete_mailbox_rows(source)
        done.result(timeout=20)
    store.refresh_from_db()
    assert store.mailbox_id == elsewhere.pk


def test_a_list_is_taken_over_while_a_client_writes(queued: QueuedAccount) -> None:
    """The client's COMMIT looks at the account, to which its rows refer; the list waits for the client's mailbox."""
    written = threading.Event()

    def act_as_a_client() -> None:
        with transaction.atomic():
            queued.store(queued.inbox, "\\Flagged", uid=1)
            written.set()
            wait_until(somebody_waits)

    listed = [upstream_mailbox("INBOX"), upstream_mailbox("Archive"), upstream_mailbox("New")]
    with ThreadPoolExecutor(1) as client:
        done = client.submit(_beside, act_as_a_client)
        assert written.wait(timeout=20)
        assert ingest_mailbox_list(fence=queued.sync_fence, listed=listed).created == 1
        done.result(timeout=20)


def test_bytes_that_are_fetched_while_a_client_appends_them(
    queued: QueuedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider files what was sent, and the client appends it as well."""
    kept = threading.Event()

    def keep_and_wait(**arguments: Any) -> AddedContents:
        found = add_or_share_contents(**arguments)
        kept.set()
        wait_until(somebody_waits)
        return found

    monkeypatch.setattr("mailcache.services.ingest_bodies.add_or_share_contents", keep_and_wait)
    data = message_bytes()
    with ThreadPoolExecutor(1) as sync:
        fetched = sync.submit(_beside, lambda: queued.arrive(queued.archive, 1, data))
        assert kept.wait(timeout=20)
        queued.append(queued.archive, data)
        fetched.result(timeout=20)
    assert Content.objects.filter(messages__mailbox=queued.archive).distinct().count() == 1


def _beside(act: Callable[[], object]) -> None:
    """Do it on a connection of this thread's own, which ends with it."""
    with closing(connection):
        act()
