"""The skeleton pass: compares a mailbox with the upstream; messages appear, change their flags, and go.

The plain tier: the set of UIDs by UID SEARCH, flags by UID FETCH. What was committed is the position: a comparison
that was cut off finds the messages of its finished chunks here and goes on behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.utils import timezone

from mailcache.flags import FlagSet
from mailcache.mime.date import parse_date_field
from mailcache.mime.headers import first_values, parse_fields
from mailcache.models import Mailbox, Remote
from mailcache.services.ingest_expunge import remove_messages, remove_other_uidvalidities
from mailcache.services.ingest_skeleton import SkeletonRow, add_messages, set_upstream_uidvalidity
from sync import planner
from sync.errors import IncompleteAnswer
from sync.flags import compare_flags
from sync.models import Checkpoint
from sync.services.checkpoints import UpstreamState, checkpoint_of, note_compared
from sync.upstream.errors import CommandRefused, Severity
from sync.upstream.values import FetchedMessage, SelectedMailbox
from sync.work import SliceWork

# An upstream that says "empty" twice, on two connections this far apart, is believed.
_EMPTY_FOR = timedelta(seconds=30)
_SKELETON_ITEMS = b"(FLAGS INTERNALDATE RFC822.SIZE)"
_DATE_ITEMS = b"(BODY.PEEK[HEADER.FIELDS (DATE)])"
# More than these is no matter of single messages.
_MOST_LEFT_OUT = 10
_NO_DATE = datetime(1970, 1, 1, tzinfo=UTC)


def compare_mailbox(work: SliceWork, mailbox: Mailbox) -> None:
    """Bring the messages of one mailbox in step with the upstream, without their bytes."""
    began = max(timezone.now(), work.run.compare_since)
    before = checkpoint_of(fence=work.fence, mailbox_id=mailbox.pk)
    state, uids = _read_uids(work, mailbox)
    agreed = _agreed_flags(mailbox, state.uidvalidity)
    if mailbox.upstream_uidvalidity != state.uidvalidity:
        set_upstream_uidvalidity(fence=work.fence, mailbox_id=mailbox.pk, uidvalidity=state.uidvalidity)
        mailbox.upstream_uidvalidity = state.uidvalidity
    if not uids and not _may_be_empty(mailbox, before, began):
        note_compared(fence=work.fence, before=before, state=state, compared_at=began, seen_empty=True)
        return
    difference = planner.compare_uids(uids, agreed)
    left_out = _add_new(work, mailbox, state.uidvalidity, difference.new)
    compare_flags(work, mailbox, state.uidvalidity, difference.kept, agreed)
    _remove(work, mailbox, state.uidvalidity, difference.gone, renumbered=before.uidvalidity != state.uidvalidity)
    trouble = f"FETCH leaves out {left_out} messages that UID SEARCH names" if left_out else ""
    note_compared(fence=work.fence, before=before, state=state, compared_at=began, trouble=trouble)


def _read_uids(work: SliceWork, mailbox: Mailbox) -> tuple[UpstreamState, list[int]]:
    """Return a list of UIDs that is complete; one that is not is asked for once more."""
    name = bytes(mailbox.upstream_name or b"")
    for _ in range(2):
        selected = work.upstream.examine(name)
        uids = work.upstream.client.uid_search()
        if planner.is_complete(selected.exists, uids):
            return _state(selected), uids
    raise IncompleteAnswer(f"EXAMINE says {selected.exists} messages, UID SEARCH names {len(uids)}")


def _state(selected: SelectedMailbox) -> UpstreamState:
    if not selected.uidvalidity:
        raise IncompleteAnswer("the upstream gives no UIDVALIDITY for this mailbox")
    return UpstreamState(selected.uidvalidity, selected.uidnext, selected.highestmodseq, selected.exists)


def _agreed_flags(mailbox: Mailbox, uidvalidity: int) -> dict[int, FlagSet]:
    interned: dict[tuple[int, tuple[str, ...]], FlagSet] = {}
    agreed = {}
    rows = Remote.objects.numbered(mailbox.account_id, mailbox.pk, uidvalidity)
    for uid, flags, keywords in rows.values_list("uid", "flags", "keywords").iterator(chunk_size=10_000):
        key = (flags, tuple(keywords))
        agreed[uid] = interned.get(key) or interned.setdefault(key, FlagSet.of(flags, keywords))
    return agreed


def _may_be_empty(mailbox: Mailbox, before: Checkpoint, now: datetime) -> bool:
    if before.seen_empty_at is not None and now - before.seen_empty_at >= _EMPTY_FOR:
        return True
    return not Remote.objects.filter(account_id=mailbox.account_id, mailbox_id=mailbox.pk).exists()


def _add_new(work: SliceWork, mailbox: Mailbox, uidvalidity: int, uids: Sequence[int]) -> int:
    """Add new messages; returns how many of them the upstream has but does not describe."""
    left_out: set[int] = set()
    for chunk in planner.chunks(uids):
        rows = _fetch_halves(work, chunk)
        left_out |= set(chunk) - {row.uid for row in rows}
        if len(left_out) > _MOST_LEFT_OUT:
            raise IncompleteAnswer(f"FETCH leaves out {len(left_out)} messages that UID SEARCH names")
        work.counters.messages_added += add_messages(
            fence=work.fence, mailbox_id=mailbox.pk, uidvalidity=uidvalidity, rows=rows
        )
        work.pause_point()
    return len(left_out & set(work.upstream.client.uid_search())) if left_out else 0


def _fetch_halves(work: SliceWork, uids: Sequence[int]) -> list[SkeletonRow]:
    """Fetch a chunk; where the upstream refuses it because of some message, without that message."""
    try:
        return _fetch_skeleton(work, uids)
    except CommandRefused as error:
        if error.severity != Severity.MESSAGE:
            raise
    if len(uids) == 1:
        return []
    middle = len(uids) // 2
    first = _fetch_halves(work, uids[:middle])
    # Nothing of so many is no matter of single messages.
    return first + _fetch_halves(work, uids[middle:]) if first or middle <= _MOST_LEFT_OUT else first


def _fetch_skeleton(work: SliceWork, uids: Sequence[int]) -> list[SkeletonRow]:
    found: dict[int, FetchedMessage] = {}

    def collect(message: FetchedMessage) -> None:
        if message.uid is not None:
            found[message.uid] = _merged(found.get(message.uid), message)

    work.upstream.client.uid_fetch(uids, _SKELETON_ITEMS, on_message=collect)
    messages = {uid: found[uid] for uid in uids if uid in found}
    dates = _dates_from_headers(work, [uid for uid, message in messages.items() if message.internal_date is None])
    return [
        SkeletonRow(
            uid=uid,
            flags=FlagSet.parse(message.flags or ()),
            internal_date=message.internal_date or dates.get(uid, _NO_DATE),
            size=message.size,
        )
        for uid, message in messages.items()
        if message.size is not None
    ]


def _merged(earlier: FetchedMessage | None, later: FetchedMessage) -> FetchedMessage:
    """Put the parts together in which a server may tell of one message."""
    if earlier is None:
        return later
    return earlier._replace(
        flags=earlier.flags if later.flags is None else later.flags,
        internal_date=later.internal_date or earlier.internal_date,
        size=earlier.size if later.size is None else later.size,
    )


def _dates_from_headers(work: SliceWork, uids: Sequence[int]) -> dict[int, datetime]:
    """Return the Date of messages for which the upstream has no usable INTERNALDATE (field note 47)."""
    dates: dict[int, datetime] = {}

    def collect(message: FetchedMessage) -> None:
        header = next(iter(message.sections.values()), None)
        if message.uid is not None and isinstance(header, bytes):
            date = parse_date_field(first_values(parse_fields(header)).get(b"date"))
            if date is not None:
                dates[message.uid] = date

    if uids:
        work.upstream.client.uid_fetch(uids, _DATE_ITEMS, on_message=collect)
    return dates


def _remove(work: SliceWork, mailbox: Mailbox, uidvalidity: int, uids: Sequence[int], *, renumbered: bool) -> None:
    for chunk in planner.chunks(uids):
        work.counters.messages_removed += remove_messages(
            fence=work.fence, mailbox_id=mailbox.pk, uidvalidity=uidvalidity, uids=chunk
        )
        work.pause_point()
    while renumbered:
        removed = remove_other_uidvalidities(fence=work.fence, mailbox_id=mailbox.pk, uidvalidity=uidvalidity)
        work.counters.messages_removed += removed
        renumbered = removed > 0
        if renumbered:
            work.pause_point()
