"""Retrying parked messages."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from mailcache.models import Listing
from mailcache.services.ingest_bodies import park_listings
from mailcache.services.parked import retry_parked
from tests.builders import add_skeleton, make_account, make_fence, make_mailboxes, skeleton_row

pytestmark = pytest.mark.django_db


def test_all_or_some_of_one_account() -> None:
    fences = [make_fence(make_account()) for _ in range(2)]
    for fence in fences:
        inbox = make_mailboxes(fence)[0]
        add_skeleton(fence, inbox, [skeleton_row(uid) for uid in (1, 2, 3, 4)])
        for remote in Listing.objects.filter(mailbox=inbox, uid__lte=3).values_list("remote_id", flat=True):
            later = timezone.now() + timedelta(hours=1)
            park_listings(fence=fence, remote_ids=[remote], reason="NO", retry_at=later)
    account_id = fences[0].account_id
    chosen, foreign = (Listing.objects.get(account=fence.account_id, uid=2).remote_id for fence in fences)

    assert retry_parked(account_id=account_id, remote_ids=[chosen, foreign]) == 1
    assert set(Listing.objects.parked(account_id).values_list("uid", flat=True)) == {1, 3}
    assert retry_parked(account_id=account_id) == 2
    assert retry_parked(account_id=account_id) == 0
    rows = Listing.objects.filter(account=account_id).values_list("parked_reason", "attempts", "retry_at")
    assert set(rows) == {("", 0, None)}
    assert Listing.objects.parked(fences[1].account_id).count() == 3
