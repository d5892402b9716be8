"""What the connections to an upstream have taught: what it is, what it refuses, how many it allows, that it is slow."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from mailcache.models import Account
from mailcache.services.notices import set_notice
from sync.models import UpstreamHost
from sync.profiles import GENERIC, detect_profile
from sync.services.slots import Slot, release_refused_slot

# An upstream may learn what it once refused.
LATCHED_FOR = timedelta(days=30)
CROWDED_FOR = timedelta(hours=1)
SLOW_FOR = timedelta(minutes=15)
# So many accounts of one host that kept workers waiting at the same time are the host's doing.
_SLOW_ACCOUNTS = 3


def latches_of(account: Account, now: datetime) -> frozenset[str]:
    """Return the capabilities that the upstream advertised and then refused not too long ago."""
    is_current = account.latched_at is not None and now - account.latched_at < LATCHED_FOR
    return frozenset(account.latches) if is_current else frozenset()


@transaction.atomic
def note_upstream(*, account_id: int, refused: Collection[str], said: str) -> None:
    """Keep what a connection found out, for the next ones."""
    account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
    now = timezone.now()
    known = latches_of(account, now)
    changed = []
    if not known.issuperset(refused):
        account.latched_at = account.latched_at if known else now
        account.latches = sorted(known | set(refused))
        changed += ["latches", "latched_at"]
    detected = detect_profile(said)
    if detected is not GENERIC and detected.name != account.detected_profile:
        account.detected_profile = detected.name
        changed.append("detected_profile")
    if changed:
        account.save(update_fields=changed)


@transaction.atomic
def note_crowded(*, slot: Slot, reason: str) -> int:
    """Have an account make do with its other connections for a while: the upstream refused this one (quirk 4).

    Gives the slot back. Returns how many others there are; where there is none, the refusal is no matter of ours.
    """
    account_id = slot.account_id
    account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
    others = connections = release_refused_slot(slot)
    if not others:
        return 0
    now = timezone.now()
    if account.crowded_limit is not None and account.crowded_until is not None and account.crowded_until > now:
        connections = min(connections, account.crowded_limit)
    account.crowded_limit, account.crowded_until = connections, now + CROWDED_FOR
    account.save(update_fields=["crowded_limit", "crowded_until"])
    set_notice(
        account_id=account_id,
        topic="connections",
        text=f"the upstream refuses more than {connections} connections at a time ({reason}); set the account's"
        " connection limit or UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT to what it allows",
    )
    return others


@transaction.atomic
def note_slow(*, account_id: int, host: str) -> None:
    """Send an account to the slow lane for a while, and its host when several of its accounts are there."""
    now = timezone.now()
    Account.objects.filter(pk=account_id).update(slow_until=now + SLOW_FOR)
    name = host.lower()
    slow = Account.objects.filter(host__iexact=host, slow_until__gt=now).count()
    if slow >= _SLOW_ACCOUNTS:
        UpstreamHost.objects.update_or_create(name=name, defaults={"slow_until": now + SLOW_FOR})
