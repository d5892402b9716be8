"""The skeleton pass: new messages appear, with flags, date, size and what they may be known again by.

Ascending by UID, because ours have to ascend, and in chunks by number of messages. What was committed is the position:
a comparison that was cut off finds the messages of its finished chunks here and goes on behind them. RFC822.SIZE is
asked once in a message's life, and of no more messages in one command than the profile allows: some servers have to
download a message to know its size (quirk 39), but none can be shown without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property

from mailcache.flags import FlagSet
from mailcache.mime.date import parse_date_field
from mailcache.mime.headers import first_values, parse_fields
from mailcache.mime.message_ids import first_message_id
from mailcache.models import Content, Mailbox
from mailcache.services.ingest_flags import apply_upstream_flags
from mailcache.services.ingest_skeleton import SkeletonRow, add_messages
from sync import planner
from sync.errors import IncompleteAnswer
from sync.gmail import X_GM_EXT_1, canonical_labels
from sync.label_mailboxes import are_labels_told, take_labels
from sync.upstream.errors import CommandRefused, NotOffered, Severity
from sync.upstream.values import FetchedMessage
from sync.work import SliceWork

_ITEMS = b"FLAGS INTERNALDATE RFC822.SIZE"
_GMAIL_ITEMS = b"X-GM-MSGID X-GM-LABELS"
_MESSAGE_ID_ITEM = b"BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"
_DATE_ITEMS = b"(BODY.PEEK[HEADER.FIELDS (DATE)])"
# More than these is no matter of single messages.
_MOST_LEFT_OUT = 10
_LONGEST_ID = 64
_NO_DATE = datetime(1970, 1, 1, tzinfo=UTC)


class Skeleton:
    """Adds messages of one mailbox."""

    def __init__(
        self, work: SliceWork, mailbox: Mailbox, uidvalidity: int, *, renumbered: bool, settlements: int
    ) -> None:
        self._work = work
        self._mailbox = mailbox
        self._uidvalidity = uidvalidity
        self._renumbered = renumbered
        self._settlements = settlements
        self._chunk = min(planner.CHUNK_MESSAGES, work.upstream.profile.largest_fetch)

    def add(self, uids: Sequence[int]) -> None:
        """Add those of ``uids`` (ascending) that the upstream has."""
        for chunk in planner.chunks(uids, self._chunk):
            self._store(self._fetch(chunk))

    def add_grown(self, new: range, *, since: int = 0, recent: Sequence[int] = ()) -> list[FetchedMessage] | None:
        """Add those of a few ``new`` UIDs that the upstream has, and return what the same command tells of others.

        These are messages that changed ``since``, or the ``recent`` ones: so their flags cost no command of their own.
        None where the upstream refused that.
        """
        try:
            found = self._ask([*recent, *new], since)
        except (CommandRefused, NotOffered):
            self.add(new)
            return None
        self._store(self._rows([found[uid] for uid in new if uid in found]))
        return [message for uid, message in found.items() if uid not in new]

    def add_listed(self, uids: Sequence[int]) -> list[int]:
        """Add messages that the upstream listed; returns those that it leaves out, also when asked once more."""
        left_out: list[int] = []
        for chunk in planner.chunks(uids, self._chunk):
            rows = self._fetch(chunk)
            left_out += sorted(set(chunk) - {row.uid for row in rows})
            if len(left_out) > _MOST_LEFT_OUT:
                raise IncompleteAnswer(f"FETCH leaves out {len(left_out)} messages that UID SEARCH names")
            self._store(rows)
        if not left_out:
            return []
        rows = self._fetch(left_out, patient=False)
        self._store(rows)
        return sorted(set(left_out) - {row.uid for row in rows})

    @cached_property
    def _items(self) -> bytes:
        return _items(self._work, renumbered=self._renumbered)

    def _store(self, rows: Sequence[SkeletonRow]) -> None:
        if are_labels_told(self._work, self._mailbox):
            rows = [replace(row, flags=row.flags.unmarked()) for row in rows]
        if rows:
            added = add_messages(
                fence=self._work.fence,
                mailbox_id=self._mailbox.pk,
                uidvalidity=self._uidvalidity,
                rows=rows,
                settlements=self._settlements,
            )
            self._work.counters.messages_added += added
            if added < len(rows):
                self._take_changes(rows)
        self._work.pause_point()

    def _take_changes(self, rows: Sequence[SkeletonRow]) -> None:
        """Take what has changed since a comparison that was cut off added messages: nothing else will tell of it."""
        work = self._work
        work.counters.flags_changed += apply_upstream_flags(
            fence=work.fence,
            mailbox_id=self._mailbox.pk,
            uidvalidity=self._uidvalidity,
            flags={row.uid: row.flags for row in rows},
            settlements=self._settlements,
        )
        if are_labels_told(work, self._mailbox):
            take_labels(work, self._mailbox, {row.uid: row.labels for row in rows})

    def _fetch(self, uids: Sequence[int], *, patient: bool = True) -> list[SkeletonRow]:
        """Fetch a chunk; where the upstream refuses it because of some message, without that message.

        A message told of without its flags (quirk 43) is left out while ``patient``, so that it is asked for again;
        else it appears without flags rather than not at all.
        """
        try:
            return self._fetch_rows(uids, patient=patient)
        except CommandRefused as error:
            if error.severity != Severity.MESSAGE:
                raise
        if len(uids) == 1:
            return []
        middle = len(uids) // 2
        first = self._fetch(uids[:middle], patient=patient)
        # Nothing of so many is no matter of single messages.
        if not first and middle > _MOST_LEFT_OUT:
            return []
        return first + self._fetch(uids[middle:], patient=patient)

    def _fetch_rows(self, uids: Sequence[int], *, patient: bool) -> list[SkeletonRow]:
        found = self._ask(uids)
        return self._rows([found[uid] for uid in uids if uid in found], patient=patient)

    def _ask(self, uids: Sequence[int], since: int = 0) -> dict[int, FetchedMessage]:
        found: dict[int, FetchedMessage] = {}

        def collect(message: FetchedMessage) -> None:
            if message.uid is not None:
                found[message.uid] = _merged(found.get(message.uid), message)

        client = self._work.upstream.client
        if since:
            client.uid_fetch_set(b"1:%d" % uids[-1], self._items, on_message=collect, changed_since=since)
        else:
            client.uid_fetch(uids, self._items, on_message=collect)
        return found

    def _rows(self, messages: Sequence[FetchedMessage], *, patient: bool = True) -> list[SkeletonRow]:
        told = [message for message in messages if message.size is not None and not (patient and message.flags is None)]
        dates = self._dates_from_headers([message.uid or 0 for message in told if message.internal_date is None])
        return [_row(message, dates.get(message.uid or 0, _NO_DATE)) for message in told]

    def _dates_from_headers(self, uids: Sequence[int]) -> dict[int, datetime]:
        """Return the Date of messages for which the upstream has no usable INTERNALDATE (field note 47)."""
        dates: dict[int, datetime] = {}

        def collect(message: FetchedMessage) -> None:
            date = parse_date_field(_header(message).get(b"date"))
            if message.uid is not None and date is not None:
                dates[message.uid] = date

        if uids:
            self._work.upstream.client.uid_fetch(uids, _DATE_ITEMS, on_message=collect)
        return dates


def _items(work: SliceWork, *, renumbered: bool) -> bytes:
    """Return what to ask of new messages: as little identity as tells them apart from what is here."""
    items = [_ITEMS]
    if work.upstream.client.may(X_GM_EXT_1):
        items.append(_GMAIL_ITEMS)
    elif work.upstream.client.may("OBJECTID"):
        items.append(b"EMAILID")
    # What a server calls a message by may not outlive a migration; Message-ID does. In a first sync nothing is known
    # yet, and a server has to open every message to tell.
    if renumbered or (len(items) == 1 and _may_know_messages(work)):
        items.append(_MESSAGE_ID_ITEM)
    return b"(" + b" ".join(items) + b")"


def _may_know_messages(work: SliceWork) -> bool:
    account = work.account
    return account.last_synced_at is not None and Content.objects.filter(account_id=account.pk).exists()


def _row(message: FetchedMessage, date: datetime) -> SkeletonRow:
    return SkeletonRow(
        uid=message.uid or 0,
        flags=FlagSet.parse(message.flags or ()),
        internal_date=message.internal_date or date,
        size=message.size or 0,
        upstream_id=_upstream_id(message.email_id),
        message_id=first_message_id(_header(message).get(b"message-id")) or "",
        labels=canonical_labels(message.labels or ()),
    )


def _upstream_id(told: str | None) -> str:
    """Return an identity that has room in its column; half of one would be another's."""
    return told if told is not None and len(told) <= _LONGEST_ID else ""


def _header(message: FetchedMessage) -> dict[bytes, bytes]:
    header = next(iter(message.sections.values()), None)
    return first_values(parse_fields(header)) if isinstance(header, bytes) else {}


def _merged(earlier: FetchedMessage | None, later: FetchedMessage) -> FetchedMessage:
    """Put the parts together in which a server may tell of one message."""
    if earlier is None:
        return later
    return earlier._replace(
        flags=earlier.flags if later.flags is None else later.flags,
        internal_date=later.internal_date or earlier.internal_date,
        size=earlier.size if later.size is None else later.size,
        email_id=later.email_id or earlier.email_id,
        labels=earlier.labels if later.labels is None else later.labels,
        sections={**earlier.sections, **later.sections},
    )
