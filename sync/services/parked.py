"""Messages that were set aside because their bytes could not be fetched."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from mailcache.models import Listing
from mailcache.services import accounts


@transaction.atomic
def retry_parked(*, account_id: int | None = None, mailbox_id: int | None = None) -> int:
    """Have the messages of an account, or of one mailbox, that were set aside asked for again now; returns how many.

    Their attempts stay counted, so that each is asked for alone.
    """
    if account_id is None and mailbox_id is None:
        raise ValueError("whose messages?")
    rows = Listing.objects.exclude(parked_reason="")
    if account_id is not None:
        rows = rows.filter(account_id=account_id)
    if mailbox_id is not None:
        rows = rows.filter(mailbox_id=mailbox_id)
    owners = set(rows.values_list("account_id", flat=True).distinct())
    number = rows.update(retry_at=timezone.now())
    for owner in sorted(owners):
        accounts.request_sync(account_id=owner)
    return number
