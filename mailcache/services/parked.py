"""Messages that were set aside because their bytes could not be fetched."""

from __future__ import annotations

from collections.abc import Collection

from django.db import transaction

from mailcache.models import Listing


@transaction.atomic
def retry_parked(*, account_id: int, remote_ids: Collection[int] | None = None) -> int:
    """Let parked messages be fetched again, all or those named, as if they had never failed; returns how many."""
    parked = Listing.objects.parked(account_id)
    if remote_ids is not None:
        parked = parked.filter(remote_id__in=remote_ids)
    return parked.update(parked_reason="", retry_at=None, attempts=0)
