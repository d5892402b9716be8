"""Messages that somebody else's client moves or copies between mailboxes (quirk 19): their bytes are here already."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from mailcache.identity import Traits
from mailcache.models import Account, Content, Listing, Mailbox, Message
from mailcache.services.content_twins import find_twins
from mailcache.services.ingest_expunge import remove_messages
from mailcache.services.ingest_skeleton import SkeletonRow, set_upstream_uidvalidity
from mailcache.services.leases import Fence
from tests.builders import (
    INTERNAL_DATE,
    UIDVALIDITY,
    add_bodies,
    add_skeleton,
    make_account,
    make_fence,
    make_mailboxes,
    message_bytes,
    row_of,
    skeleton_row,
)
from tests.mailcache.rows import bytes_of, check_consistency

pytestmark = pytest.mark.django_db


@pytest.fixture
def fence() -> Fence:
    return make_fence(make_account())


@pytest.fixture
def mailboxes(fence: Fence) -> tuple[Mailbox, Mailbox]:
    inbox, work = make_mailboxes(fence, "INBOX", "Work")
    for mailbox in (inbox, work):
        set_upstream_uidvalidity(fence=fence, mailbox_id=mailbox.pk, uidvalidity=UIDVALIDITY)
    return inbox, work


def mirror(fence: Fence, mailbox: Mailbox, row: SkeletonRow, body: bytes) -> None:
    add_skeleton(fence, mailbox, [row])
    add_bodies(fence, mailbox, {row.uid: body})


def expunge(fence: Fence, mailbox: Mailbox, uid: int) -> None:
    remove_messages(fence=fence, mailbox_id=mailbox.pk, uidvalidity=UIDVALIDITY, uids=[uid])


@pytest.mark.parametrize("appears_first", [True, False])
@pytest.mark.parametrize("upstream_id", ["", "M1"])
def test_a_move_fetches_nothing(
    fence: Fence, mailboxes: tuple[Mailbox, Mailbox], upstream_id: str, appears_first: bool
) -> None:
    inbox, work = mailboxes
    body = message_bytes()
    mirror(fence, inbox, replace(row_of(4, body), upstream_id=upstream_id), body)
    moved = replace(row_of(1, body), upstream_id=upstream_id)
    emailid = Message.objects.get().emailid
    used = Account.objects.get().used_bytes

    if appears_first:
        add_skeleton(fence, work, [moved])
        # Readable at once, and not among what is fetched.
        assert bytes_of(work) == {1: body}
        assert not Listing.objects.fetchable(fence.account_id, timezone.now()).exists()
    expunge(fence, inbox, 4)
    if not appears_first:
        add_skeleton(fence, work, [moved])

    assert bytes_of(inbox) == {}
    assert bytes_of(work) == {1: body}
    assert not Listing.objects.exists()
    assert Message.objects.get().emailid == emailid
    assert emailid
    assert Account.objects.get().used_bytes == used
    for mailbox in mailboxes:
        check_consistency(mailbox)


def test_a_move_where_the_upstreams_size_is_wrong(fence: Fence, mailboxes: tuple[Mailbox, Mailbox]) -> None:
    inbox, work = mailboxes
    body = message_bytes()
    announced = replace(row_of(4, body), size=len(body) + 7)
    mirror(fence, inbox, announced, body)

    add_skeleton(fence, work, [replace(announced, uid=1)])

    # With its true size at once, so that it needs no new UID.
    assert list(Message.objects.filter(mailbox=work).values_list("uid", "size")) == [(1, len(body))]


class TestCopies:
    def test_a_copy_is_readable_at_once_and_compared_later(
        self, fence: Fence, mailboxes: tuple[Mailbox, Mailbox]
    ) -> None:
        inbox, work = mailboxes
        body = message_bytes()
        mirror(fence, inbox, row_of(4, body), body)

        add_skeleton(fence, work, [row_of(1, body)])
        assert bytes_of(work) == {1: body}
        later = timezone.now() + timedelta(minutes=11)
        assert Listing.objects.fetchable(fence.account_id, later).count() == 1
        added = add_bodies(fence, work, {1: body})

        assert (added.duplicate, added.resized, added.vanished) == (1, 0, 0)
        assert bytes_of(work) == {1: body}
        assert not Listing.objects.exists()

    def test_two_deliveries_of_one_mail_are_two_messages(
        self, fence: Fence, mailboxes: tuple[Mailbox, Mailbox]
    ) -> None:
        """To two aliases in one second: Message-ID, size and date agree, the Received fields do not."""
        inbox, work = mailboxes
        body = b"Received: for <one@example.test>\r\n" + message_bytes()
        other = body.replace(b"<one@", b"<two@")
        mirror(fence, inbox, row_of(4, body), body)

        add_skeleton(fence, work, [row_of(1, other)])
        add_bodies(fence, work, {1: other})

        # Under the old UID other bytes were served.
        assert bytes_of(work) == {2: other}
        assert bytes_of(inbox) == {4: body}
        first, second = Message.objects.order_by("pk")
        assert first.emailid != second.emailid
        check_consistency(work)

    def test_in_one_mailbox_they_are_never_taken_for_copies(
        self, fence: Fence, mailboxes: tuple[Mailbox, Mailbox]
    ) -> None:
        inbox, _ = mailboxes
        body = message_bytes()
        mirror(fence, inbox, row_of(4, body), body)

        add_skeleton(fence, inbox, [row_of(5, body)])

        assert bytes_of(inbox) == {4: body, 5: None}

    def test_one_of_two_contents_is_not_guessed(self, fence: Fence, mailboxes: tuple[Mailbox, Mailbox]) -> None:
        inbox, work = mailboxes
        body = b"Received: for <one@example.test>\r\n" + message_bytes()
        other = body.replace(b"<one@", b"<two@")
        for uid, each in ((4, body), (5, other)):
            mirror(fence, inbox, row_of(uid, each), each)

        add_skeleton(fence, work, [row_of(1, other)])

        assert bytes_of(work) == {1: None}

    @pytest.mark.parametrize(
        "other",
        [{"size": 1}, {"internal_date": INTERNAL_DATE + timedelta(seconds=1)}, {"message_id": "<other@x>"}],
    )
    def test_everything_must_agree(
        self, fence: Fence, mailboxes: tuple[Mailbox, Mailbox], other: dict[str, object]
    ) -> None:
        inbox, work = mailboxes
        body = message_bytes()
        mirror(fence, inbox, row_of(4, body), body)

        add_skeleton(fence, work, [replace(row_of(1, body), **other)])  # type: ignore[arg-type]  # one field each

        assert bytes_of(work) == {1: None}

    def test_another_id_upstream_is_another_message(self, fence: Fence, mailboxes: tuple[Mailbox, Mailbox]) -> None:
        inbox, work = mailboxes
        body = message_bytes()
        mirror(fence, inbox, replace(row_of(4, body), upstream_id="M1"), body)

        add_skeleton(fence, work, [replace(row_of(1, body), upstream_id="M2")])

        assert bytes_of(work) == {1: None}

    def test_another_account_shares_nothing(self, fence: Fence, mailboxes: tuple[Mailbox, Mailbox]) -> None:
        body = message_bytes()
        mirror(fence, mailboxes[0], replace(row_of(4, body), upstream_id="M1"), body)
        stranger = make_fence(make_account())
        (inbox,) = make_mailboxes(stranger)

        add_skeleton(stranger, inbox, [replace(row_of(4, body), upstream_id="M1")])

        assert bytes_of(inbox) == {4: None}


def test_a_message_that_is_not_here_yet_is_fetched_where_it_is_now(
    fence: Fence, mailboxes: tuple[Mailbox, Mailbox]
) -> None:
    inbox, work = mailboxes
    add_skeleton(fence, inbox, [skeleton_row(1, upstream_id="M1")])
    add_skeleton(fence, work, [skeleton_row(9, upstream_id="M1")])
    expunge(fence, inbox, 1)

    assert list(Listing.objects.values_list("mailbox_id", "uid")) == [(work.pk, 9)]


def test_the_search_for_twins_uses_the_indexes(fence: Fence, mailboxes: tuple[Mailbox, Mailbox]) -> None:
    inbox, _ = mailboxes
    body = message_bytes()
    mirror(fence, inbox, row_of(1, body), body)
    columns = [field.column for field in Content._meta.concrete_fields if not field.primary_key]
    copied = ", ".join(f'"{column}"' for column in columns)
    values = copied.replace('"sha256"', "sha256(number::text::bytea)").replace('"message_id"', "'<' || number || '@x>'")
    values = values.replace('"emailid"', "'u' || number")
    statement = f"INSERT INTO mailcache_content ({copied}) SELECT {values} FROM mailcache_content, "
    traits = {uid: Traits(1, INTERNAL_DATE, f"{uid}", f"<{uid}@x>") for uid in range(1, 501)}
    with connection.cursor() as cursor:
        cursor.execute(statement + "generate_series(1, 20000) AS number")
        cursor.execute("ANALYZE mailcache_content")
    explained = explain_twins(fence.account_id, inbox.pk, traits)

    assert "content_message_id" in explained
    assert "content_emailid" in explained
    assert "Seq Scan on mailcache_content" not in explained


def explain_twins(account_id: int, mailbox_id: int, traits: dict[int, Traits]) -> str:
    """Return the plan of the query that looks for twins."""
    with CaptureQueriesContext(connection) as queries:
        find_twins(account_id=account_id, mailbox_id=mailbox_id, traits=traits)
    (query,) = queries.captured_queries
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + query["sql"])
        return "\n".join(line for (line,) in cursor.fetchall())
