"""STORE: one transaction with flags, modseq, journal and mutation; other connections know at once."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from mailcache.errors import NoSuchMailbox
from mailcache.flags import FlagSet
from mailcache.generations import generation_table
from mailcache.models import Change, Mailbox, Message, Mutation
from mailcache.services.flags import StoreResult, store_flags
from mailcache.wire.number_set import NumberSet
from tests.builders import add_skeleton, make_account, make_fence, make_mailboxes, make_user, skeleton_row
from tests.mailcache.deltas import adding, removing


def _inbox(*uids: int) -> Mailbox:
    fence = make_fence(make_account())
    (inbox,) = make_mailboxes(fence)
    add_skeleton(fence, inbox, [skeleton_row(uid) for uid in uids])
    return inbox


def _numbers(*uids: int) -> NumberSet:
    return NumberSet.from_numbers(uids)


@pytest.mark.django_db
class TestStoreFlags:
    def test_flags_modseq_journal_and_mutation_agree(self) -> None:
        inbox = _inbox(1, 2, 3)

        result = store_flags(
            user_id=inbox.account.user_id, mailbox_id=inbox.pk, uids=_numbers(1, 3, 9), store=adding("\\Seen", "x")
        )

        assert result.changed == {1: FlagSet.parse(["\\Seen", "x"]), 3: FlagSet.parse(["\\Seen", "x"])}
        assert set(Message.objects.exclude(uid=2).values_list("modseq", flat=True)) == {result.modseq}
        assert result.modseq is not None
        assert Change.objects.get(modseq=result.modseq).changed == "1,3"
        assert list(Mutation.objects.values_list("add_flags", "add_keywords")) == [(1, ["x"]), (1, ["x"])]
        inbox.refresh_from_db()
        assert (inbox.unseen, inbox.highestmodseq) == (1, result.modseq)

    def test_nothing_changed_is_nothing_written(self) -> None:
        inbox = _inbox(1)

        result = store_flags(
            user_id=inbox.account.user_id, mailbox_id=inbox.pk, uids=_numbers(1), store=removing("\\Seen")
        )

        assert result == StoreResult()
        assert Mutation.objects.count() == 0

    def test_another_users_mailbox_does_not_exist(self) -> None:
        inbox = _inbox(1)

        with pytest.raises(NoSuchMailbox):
            store_flags(user_id=make_user().pk, mailbox_id=inbox.pk, uids=_numbers(1), store=adding("\\Seen"))

    def test_its_cost_does_not_grow_with_the_messages(self, django_assert_num_queries: object) -> None:
        inbox = _inbox(*range(1, 401))
        user_id = inbox.account.user_id

        with django_assert_num_queries(7):  # type: ignore[operator]  # savepoint, lock, read, write, queue, journal
            store_flags(
                user_id=user_id,
                mailbox_id=inbox.pk,
                uids=_numbers(*range(1, 401)),
                store=adding("\\Flagged"),
            )


@pytest.mark.django_db(transaction=True)
def test_two_connections_that_store_at_once_lose_nothing() -> None:
    inbox = _inbox(*range(1, 51))
    user_id = inbox.account.user_id
    start = threading.Barrier(2)

    def store(keyword: str) -> None:
        start.wait(timeout=10)
        for uid in range(1, 51):
            store_flags(user_id=user_id, mailbox_id=inbox.pk, uids=_numbers(uid), store=adding(keyword))
        connection.close()

    threads = [threading.Thread(target=store, args=(keyword,)) for keyword in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert all(sorted(message.keywords) == ["one", "two"] for message in Message.objects.all())
    inbox.refresh_from_db()
    modseqs = list(Change.objects.filter(mailbox=inbox).order_by("modseq").values_list("modseq", flat=True))
    assert modseqs == list(range(2, inbox.highestmodseq + 1))


@pytest.mark.django_db(transaction=True)
def test_the_generation_moves_after_the_commit() -> None:
    inbox = _inbox(1)
    before = generation_table().read(inbox.pk)

    store_flags(user_id=inbox.account.user_id, mailbox_id=inbox.pk, uids=_numbers(1), store=adding("\\Seen"))

    assert generation_table().read(inbox.pk) != before
