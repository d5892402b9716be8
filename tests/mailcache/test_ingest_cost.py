"""A chunk of messages is one transaction with as many statements as a single message takes (field note 17)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from mailcache.flags import FlagSet
from mailcache.models import Mailbox
from mailcache.services.ingest_expunge import remove_messages
from mailcache.services.ingest_flags import apply_upstream_flags
from mailcache.services.leases import Fence
from tests.builders import (
    UIDVALIDITY,
    add_bodies,
    add_skeleton,
    make_account,
    make_fence,
    make_mailboxes,
    message_bytes,
    row_of,
)

pytestmark = pytest.mark.django_db


def statements(work: Callable[[], object]) -> int:
    """Return how many statements ``work`` sends."""
    with CaptureQueriesContext(connection) as queries:
        work()
    return len(queries)


def costs(fence: Fence, mailbox: Mailbox, uids: range) -> list[int]:
    """Return the statements of all that befalls messages: they appear, get bytes, change and go."""
    bodies = {uid: message_bytes(f"number {uid}") for uid in uids}
    seen = dict.fromkeys(uids, FlagSet.parse(["\\Seen"]))
    change = partial(apply_upstream_flags, fence=fence, mailbox_id=mailbox.pk, uidvalidity=UIDVALIDITY)
    remove = partial(remove_messages, fence=fence, mailbox_id=mailbox.pk, uidvalidity=UIDVALIDITY)
    return [
        statements(lambda: add_skeleton(fence, mailbox, [row_of(uid, body) for uid, body in bodies.items()])),
        statements(lambda: add_bodies(fence, mailbox, bodies)),
        statements(lambda: change(flags=seen)),
        statements(lambda: remove(uids=list(uids))),
    ]


def test_many_messages_cost_no_more_than_one() -> None:
    fence = make_fence(make_account())
    (inbox,) = make_mailboxes(fence)

    costs(fence, inbox, range(1, 2))
    one = costs(fence, inbox, range(2, 3))
    assert costs(fence, inbox, range(3, 203)) == one
