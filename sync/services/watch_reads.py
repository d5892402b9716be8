"""What a watcher has to know of an account before it connects, and of its mailboxes."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q
from django.utils import timezone

from mailcache.models import Account, Mailbox, MailboxRole
from mailcache.services.rows import fetch_all
from sync.connection import credentials_of, endpoint_of, profile_of
from sync.models import Checkpoint, SyncRun
from sync.profiles import Profile
from sync.services.slots import ConnectionLimits, connection_limits
from sync.services.upstream_notes import latches_of
from sync.upstream.endpoint import Credentials, Endpoint
from sync.watch_plan import Numbers, WatchedMailbox, WatchPlan

# A run with more bodies to fetch than this can use every connection.
_MANY_BODIES = 200

_LAST_ARRIVALS = """
    SELECT mailbox_id, extract(epoch FROM max(created_at))::float8 FROM mailcache_change
    WHERE account_id = %(account)s AND appeared <> '' AND created_at > now() - interval '30 days'
    GROUP BY mailbox_id
"""


@dataclass(frozen=True, slots=True)
class Door:
    """How to get to an account's upstream."""

    account_id: int
    endpoint: Endpoint
    profile: Profile
    latches: frozenset[str]
    limits: ConnectionLimits
    detected: str


def load_door(account_id: int) -> tuple[Door, Credentials] | None:
    """Return how to connect for an account now; None when it may not be. May ask for an access token first."""
    account = Account.objects.syncable().filter(pk=account_id).first()
    if account is None:
        return None
    profile = profile_of(account)
    door = Door(
        account_id,
        endpoint_of(account),
        profile,
        latches_of(account, timezone.now()),
        connection_limits(account, profile),
        account.detected_profile,
    )
    return door, credentials_of(account)


def load_plan(account_id: int) -> WatchPlan:
    """Return an account's mailboxes, as far as they can be compared with the upstream."""
    arrivals = dict(fetch_all(_LAST_ARRIVALS, {"account": account_id}))
    numbers = {
        row.mailbox_id: Numbers(row.uidvalidity, row.uidnext, row.exists, row.highestmodseq)
        for row in Checkpoint.objects.filter(account_id=account_id, compared_at__isnull=False)
    }
    rows = Mailbox.objects.mirrored(account_id).filter(selectable=True, sync_paused_reason="", missed_lists=0)
    # What happens in label mailboxes happens in All Mail; of INBOX the upstream speaks soonest.
    rows = rows.filter(Q(label="") | Q(role=MailboxRole.INBOX))
    return WatchPlan.of(
        [
            WatchedMailbox(
                mailbox.pk,
                bytes(mailbox.upstream_name or b""),
                mailbox.role,
                numbers.get(mailbox.pk, Numbers(None, None, None, None)),
                arrivals.get(mailbox.pk, 0.0),
            )
            for mailbox in rows
        ]
    )


def is_busy(account_id: int) -> bool:
    """Tell whether a run fetches so much that it needs all connections."""
    return SyncRun.objects.open().filter(account_id=account_id, bodies_remaining__gt=_MANY_BODIES).exists()
