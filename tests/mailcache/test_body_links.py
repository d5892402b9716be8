"""Bodies reach every message of a Remote, in whatever mailbox it is shown (Gmail's labels)."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from mailcache.errors import NoSuchMailbox
from mailcache.flags import FlagSet
from mailcache.journal import lock_mailbox, write_change
from mailcache.mime.parsed import parse_header
from mailcache.models import Listing, Mailbox, Message, Remote
from mailcache.services.body_links import _WAITING, Body, link_bodies
from mailcache.services.ingest_bodies import expected_message_ids
from mailcache.services.ingest_headers import HeaderRow, add_headers
from mailcache.services.ingest_list import delete_mailbox_rows
from mailcache.services.leases import Fence
from mailcache.services.rows import count_appeared
from mailcache.wire.number_set import NumberSet
from tests.builders import (
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


def show_also_in(mailbox: Mailbox) -> None:
    """Show all messages in one more mailbox, as Gmail's labels do."""
    locked = lock_mailbox(mailbox.pk)
    sizes = []
    for message in Message.objects.exclude(mailbox=mailbox).order_by("uid"):
        message.pk, message.mailbox, message.modseq = None, mailbox, locked.modseq
        message.save(force_insert=True)
        sizes.append(message.size)
    uids = NumberSet.from_numbers(Message.objects.filter(mailbox=mailbox).values_list("uid", flat=True))
    write_change(locked, appeared=uids, uidnext=max(uids) + 1, counters=count_appeared([FlagSet()] * len(sizes), sizes))


class TestLabels:
    def test_one_body_for_all_mailboxes(self, fence: Fence) -> None:
        label, everything = make_mailboxes(fence, "Label", "All")
        bodies = {1: message_bytes("one"), 2: message_bytes("two")}
        add_skeleton(fence, everything, [row_of(uid, body) for uid, body in bodies.items()])
        show_also_in(label)

        added = add_bodies(fence, everything, bodies)

        assert (added.stored, added.vanished, added.resized) == (2, 0, 0)
        assert bytes_of(everything) == bytes_of(label) == bodies
        assert not Listing.objects.exists()

    def test_a_wrong_size_gives_a_new_uid_in_each(self, fence: Fence) -> None:
        label, everything = make_mailboxes(fence, "Label", "All")
        bodies = {1: message_bytes("one"), 2: message_bytes("two")}
        add_skeleton(fence, everything, [skeleton_row(1, size=7), row_of(2, bodies[2])])
        show_also_in(label)

        added = add_bodies(fence, everything, bodies)

        assert added.resized == 2
        for mailbox in (everything, label):
            assert bytes_of(mailbox) == {2: bodies[2], 3: bodies[1]}
            check_consistency(mailbox)

    def test_mailboxes_are_locked_in_the_order_of_their_ids(self, fence: Fence) -> None:
        label, everything = make_mailboxes(fence, "Label", "All")
        body = message_bytes()
        add_skeleton(fence, everything, [row_of(1, body)])
        show_also_in(label)

        with CaptureQueriesContext(connection) as queries:
            add_bodies(fence, everything, {1: body})

        locks = [query["sql"] for query in queries.captured_queries if "FOR NO KEY UPDATE OF mailbox" in query["sql"]]
        # One was missing, so both are locked anew, by one statement.
        assert len(locks) == 2
        assert "ORDER BY mailbox.id" in locks[-1]
        assert all(str(mailbox.pk) in locks[-1] for mailbox in (label, everything))


def test_a_mailbox_that_is_gone(fence: Fence) -> None:
    (work,) = make_mailboxes(fence, "Work")
    pk = work.pk
    delete_mailbox_rows(work)

    with pytest.raises(NoSuchMailbox):
        link_bodies(account_id=fence.account_id, mailbox_id=pk, bodies={1: Body(1, 1)})


class TestExpectedMessageIds:
    """Yahoo's FETCH was seen to return another message than was asked for (quirk 26)."""

    def test_from_the_skeleton_or_the_header(self, fence: Fence) -> None:
        (inbox,) = make_mailboxes(fence)
        body, listed = message_bytes("one"), message_bytes("two")
        add_skeleton(fence, inbox, [row_of(1, body), skeleton_row(2), skeleton_row(3)])
        remotes = dict(Remote.objects.values_list("uid", "pk"))
        header = listed.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        add_headers(fence=fence, rows=[HeaderRow(remotes[2], header, parse_header(header))])

        assert expected_message_ids(fence.account_id, remotes.values()) == {
            remotes[1]: parse_header(body).message_id,
            remotes[2]: parse_header(listed).message_id,
        }

    def test_a_header_without_one_keeps_what_the_skeleton_knew(self, fence: Fence) -> None:
        (inbox,) = make_mailboxes(fence)
        add_skeleton(fence, inbox, [skeleton_row(1, message_id="<a@x>")])
        remote = Remote.objects.get().pk
        add_headers(fence=fence, rows=[HeaderRow(remote, b"Subject: x\r\n\r\n", parse_header(b"Subject: x\r\n\r\n"))])

        assert expected_message_ids(fence.account_id, [remote]) == {remote: "<a@x>"}


def test_a_batch_reads_its_own_rows_whatever_the_statistics_say(fence: Fence) -> None:
    """A new account in a database whose statistics know none: its messages are not all read for each batch."""
    older = make_fence(make_account())
    rows = [skeleton_row(uid) for uid in range(1, 3001)]
    add_skeleton(older, make_mailboxes(older)[0], rows)
    Listing.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE mailcache_message, mailcache_remote, mailcache_listing")
        add_skeleton(fence, make_mailboxes(fence)[0], rows)
        newest = Remote.objects.filter(account_id=fence.account_id, uid__lte=50)
        remotes = list(newest.values_list("pk", flat=True))
        cursor.execute(
            "EXPLAIN (ANALYZE, FORMAT JSON, TIMING off) " + _WAITING, {"account": fence.account_id, "remotes": remotes}
        )
        ((plan,),) = cursor.fetchall()
    assert _rows_read(plan[0]["Plan"]) <= 4 * len(remotes), plan


def _rows_read(node: dict[str, Any]) -> int:
    """Return how many rows the scans of a plan read, those included that they threw away."""
    scanned = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) if "Relation Name" in node else 0
    below = sum(_rows_read(each) for each in node.get("Plans", ()))
    return int(scanned * node["Actual Loops"]) + below
