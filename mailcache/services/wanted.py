"""Bytes that a client waits for and that are not here yet (design section 4).

A want is a mark on the message's ``Listing``. Who takes it up is decided by the account's WATCH lease: its holder
answers for the account's wants; where nobody holds it, or a watcher that died, a task takes the lease and answers. A
want that is fulfilled goes with its ``Listing``; one that cannot be is given up: the mark goes, the reason and the time
of the next try stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.db import transaction

from mailcache import wakeup
from mailcache.journal import announce_bodies
from mailcache.models import LeaseKind
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.services.rows import execute, fetch_all

# Whoever waited has been answered long before.
WANT_SECONDS = 120

# Rows that somebody else is writing are passed over: their message arrives just now, is being given up, or is marked by
# the next look of whoever waits. So no order of locks has to be kept with the ingest.
_WANT = """
    WITH waiting AS (
        SELECT listing.id
        FROM mailcache_message AS message
        JOIN mailcache_account AS account ON account.id = message.account_id
        JOIN mailcache_listing AS listing
             ON listing.account_id = message.account_id AND listing.remote_id = message.remote_id
        WHERE account.user_id = %(user)s AND message.mailbox_id = %(mailbox)s AND message.uid = ANY(%(uids)s)
          AND message.account_id = (SELECT account_id FROM mailcache_mailbox WHERE id = %(mailbox)s)
          AND message.content_id IS NULL
          AND (listing.wanted_at IS NULL
               OR listing.wanted_at < clock_timestamp() - make_interval(secs => %(seconds)s / 2))
        FOR NO KEY UPDATE OF listing SKIP LOCKED
    )
    UPDATE mailcache_listing AS listing SET wanted_at = clock_timestamp() FROM waiting WHERE listing.id = waiting.id
    RETURNING listing.account_id
"""

_GIVE_UP = """
    UPDATE mailcache_listing AS listing
    SET wanted_at = NULL, parked_reason = %(reason)s, retry_at = input.retry_at, attempts = attempts + %(blame)s
    FROM unnest(%(remotes)s::bigint[], %(retry_at)s::timestamptz[]) AS input (remote_id, retry_at)
    WHERE listing.account_id = %(account)s AND listing.remote_id = input.remote_id
"""

_FORGET = """
    UPDATE mailcache_listing SET wanted_at = NULL
    WHERE id IN (
        SELECT id FROM mailcache_listing
        WHERE wanted_at < clock_timestamp() - make_interval(secs => %(seconds)s)
        FOR NO KEY UPDATE SKIP LOCKED
    )
"""

# The partial index on wanted_at makes these two free while nothing is wanted.
_WANTING = """
    SELECT DISTINCT listing.account_id, lease.holder
    FROM mailcache_listing AS listing
    LEFT JOIN mailcache_lease AS lease
         ON lease.account_id = listing.account_id AND lease.kind = %(watch)s AND lease.expires_at > clock_timestamp()
    WHERE listing.wanted_at IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A message that could not be fetched, and when to try it again."""

    remote_id: int
    retry_at: datetime


@transaction.atomic
def want_bodies(*, user_id: int, mailbox_id: int, uids: Sequence[int]) -> int:
    """Mark messages of a user's mailbox whose bytes are not here as waited for; returns how many marks are new."""
    parameters = {"user": user_id, "mailbox": mailbox_id, "uids": list(uids), "seconds": WANT_SECONDS}
    # Not worth the wait for the disk: whoever waits marks again what a crash of the database forgot.
    execute("SET LOCAL synchronous_commit = off", {})
    marked = fetch_all(_WANT, parameters)
    if marked:
        transaction.on_commit(partial(wakeup.publish_want, marked[0][0]))
    return len(marked)


@transaction.atomic
def give_up(*, fence: Fence, messages: Sequence[GivenUp], reason: str, blame: bool) -> None:
    """Set messages aside, and tell whoever waits for them. ``blame`` counts it as an attempt at each of them."""
    leases.check(fence)
    parameters = {
        "account": fence.account_id,
        "remotes": [message.remote_id for message in messages],
        "retry_at": [message.retry_at for message in messages],
        "reason": reason[:2000],
        "blame": int(blame),
    }
    execute(_GIVE_UP, parameters)
    transaction.on_commit(partial(announce_bodies, fence.account_id))


@transaction.atomic
def forget_old_wants() -> int:
    """Take away the marks of which nobody can still be waiting; returns how many."""
    return execute(_FORGET, {"seconds": WANT_SECONDS})


def accounts_wanting() -> dict[int, str | None]:
    """Return the accounts that have wants, each with the holder of its WATCH lease, who answers for them."""
    return dict(fetch_all(_WANTING, {"watch": LeaseKind.WATCH.value}))
