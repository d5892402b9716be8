"""The list of an account's parked messages: which could not be fetched, why, and when they are tried again."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.paginator import Page, Paginator
from django.http import HttpRequest
from django.utils import timezone

from imapped_site import operations
from imapped_site.admin.base import operator_of
from imapped_site.units import age, octets
from mailcache.models import Account, Listing

PER_PAGE = 100


@dataclass(frozen=True, slots=True)
class ParkedMessage:
    """A message that could not be fetched, as it is shown. There is nothing of its content."""

    remote_id: int
    mailbox: str
    uid: int
    size: str
    reason: str
    attempts: int
    next_try: str


def parked_page_of(account: Account, number: str) -> Page[Listing]:
    """Return a page of an account's parked messages, by mailbox, newest first; the nearest there is."""
    rows = Listing.objects.parked(account.pk).select_related("mailbox").order_by("mailbox", "-uid")
    paginator = Paginator(rows.defer("header", "envelope", "envelope_utf8", "listing_headers"), PER_PAGE)
    return paginator.get_page(number)


def shown(page: Page[Listing]) -> list[ParkedMessage]:
    """Return the messages of a page for people."""
    now = timezone.now()
    return [
        ParkedMessage(
            remote_id=row.remote_id,
            mailbox=row.mailbox.name,
            uid=row.uid,
            size=octets(row.size),
            reason=row.parked_reason,
            attempts=row.attempts,
            next_try=age(now, row.retry_at) if row.retry_at and row.retry_at > now else "with the next sync",
        )
        for row in page.object_list
    ]


def retry_from_form(request: HttpRequest, account: Account) -> int:
    """Retry the posted messages, or with the button for all of them everything; returns how many."""
    chosen = [int(number) for number in request.POST.getlist("remote")[:PER_PAGE] if number.isdecimal()]
    everything = "all" in request.POST
    return operations.retry_parked(by=operator_of(request), account=account, remote_ids=None if everything else chosen)
