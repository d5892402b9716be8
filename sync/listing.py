"""The listing pass: header bytes, newest first, so that clients can list messages whose bodies take long to come."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.utils import timezone

from mailcache.mime.parsed import parse_header
from mailcache.models import Listing, Mailbox
from mailcache.services.ingest_headers import HeaderRow, add_headers
from sync import planner
from sync.numbering import reopen_mailbox
from sync.upstream.errors import CommandRefused, Severity
from sync.upstream.values import FetchedMessage
from sync.work import SliceWork

_ITEMS = b"(BODY.PEEK[HEADER])"
_NO_UID_ABOVE = 2**32


def fetch_headers(work: SliceWork, mailbox: Mailbox) -> None:
    """Fetch the headers that a mailbox's messages still lack; raises ``SliceOver`` between chunks."""
    below = _NO_UID_ABOVE
    while uids := _next_chunk(mailbox, below):
        rows: list[HeaderRow] = []
        reopen_mailbox(work, mailbox, mailbox.upstream_uidvalidity)
        try:
            work.upstream.client.uid_fetch(sorted(uids), _ITEMS, on_message=_collector(uids, rows))
        except CommandRefused as error:
            if error.severity != Severity.MESSAGE:
                raise
        work.counters.headers_added += add_headers(fence=work.fence, rows=rows)
        # Onwards even where the upstream left some out or refused: their bodies will tell.
        below = min(uids)
        work.pause_point()


def _next_chunk(mailbox: Mailbox, below: int) -> dict[int, int]:
    waiting = Listing.objects.fetchable(mailbox.account_id, timezone.now()).newest_first(mailbox.pk)
    rows = waiting.filter(header__isnull=True, uid__lt=below).values_list("uid", "remote_id")
    return dict(rows[: planner.CHUNK_MESSAGES])


def _collector(uids: Mapping[int, int], rows: list[HeaderRow]) -> Callable[[FetchedMessage], None]:
    def collect(message: FetchedMessage) -> None:
        header = next(iter(message.sections.values()), None)
        remote_id = uids.get(message.uid or 0)
        if remote_id is not None and isinstance(header, bytes):
            rows.append(HeaderRow(remote_id, header, parse_header(header)))

    return collect
