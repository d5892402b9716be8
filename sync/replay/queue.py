"""The queue of one account, as the planner sees it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Q
from django.utils import timezone

from mailcache.flags import FlagDelta, FlagSet
from mailcache.models import LABEL_KINDS, TRANSFERS, Mailbox, Mutation, MutationState
from mailcache.names import DELIMITER
from sync.replay.plan import Kind, Queued

# A beginning of the queue is planned; what is longer comes when that is done.
WINDOW = 20_000
# Whatever holds a change up announces that it does so no longer; this is for an announcement that was lost.
_LOOK_AGAIN = timedelta(seconds=60)
_COLUMNS = (
    "pk", "kind", "mailbox_id", "target_id", "remote_id", "remote__mailbox_id", "depends_on_id", "state", "attempts",
    "next_try_at", "add_flags", "add_keywords", "remove_flags", "remove_keywords", "arguments",
)  # fmt: skip
_MESSAGE_KINDS = frozenset({Kind.APPEND, Kind.COPY, Kind.MOVE, Kind.EXPUNGE})
# A copy notes with which flags it was made here, for when it has to be appended: it does not change any.
_FLAGGED = frozenset({Kind.STORE, Kind.APPEND})
_NO_DELTA = FlagDelta()
_NAMED = frozenset({Kind.CREATE, Kind.DELETE, Kind.RENAME})


def load_queue(account_id: int, now: datetime, *, window: int = WINDOW) -> tuple[list[Queued], bool]:
    """Return what is not settled yet, in order, with ``window`` changes whose time has come; and whether that is all.

    All of these may wait for something that is parked: whoever finds nothing to do among them looks further.
    """
    mailboxes = Mailbox.objects.filter(account_id=account_id)
    upstream = set(mailboxes.filter(upstream_name__isnull=False).values_list("pk", flat=True))
    # The messages of one of these are All Mail's: a command on a message there would reach all its mailboxes.
    labels = set(mailboxes.exclude(label="").values_list("pk", flat=True))
    unsettled = Mutation.objects.unsettled(account_id)
    due = Q(next_try_at__lte=now) & ~Q(state=MutationState.PARKED)
    ends = list(unsettled.filter(due).values_list("pk", flat=True)[window - 1 : window])
    rows = unsettled.filter(pk__lte=ends[0]) if ends else unsettled
    columns = rows.values_list(*_COLUMNS).iterator(chunk_size=5_000)
    return [_queued(row, upstream, labels, now) for row in columns], not ends


def has_due(account_id: int, now: datetime) -> bool:
    """Tell whether something waits whose time has come."""
    return Mutation.objects.replayable(account_id).filter(next_try_at__lte=now).exists()


def lost_transfers(account_id: int) -> list[int]:
    """Return changes, other than of flags, whose message a sync has removed, as it is gone upstream."""
    rows = Mutation.objects.replayable(account_id).filter(
        kind__in=[*TRANSFERS, *LABEL_KINDS],
        state=MutationState.PENDING,
        remote=None,
        depends_on=None,
    )
    return list(rows.order_by("pk").values_list("pk", flat=True))


class Seen(NamedTuple):
    """How much of a queue was planned: what was queued up to a change, and whose time had come."""

    last_id: int
    at: datetime

    def has_news(self, account_id: int) -> bool:
        """Tell whether something may be done that could not be then."""
        rows = Mutation.objects.replayable(account_id).filter(next_try_at__lte=timezone.now())
        return rows.filter(Q(pk__gt=self.last_id) | Q(next_try_at__gt=self.at)).exists()

    def next_look(self, account_id: int) -> datetime | None:
        """Return when to look at the queue again: not sooner at what others hold up. None where nothing is left."""
        rows = Mutation.objects.replayable(account_id)
        if not rows.exists():
            return None
        date = rows.filter(next_try_at__gt=self.at).order_by("next_try_at").values_list("next_try_at", flat=True)
        latest = self.at + _LOOK_AGAIN
        return min(date.first() or latest, latest)


def _queued(row: tuple[Any, ...], upstream: set[int], labels: set[int], now: datetime) -> Queued:
    (
        number, kind_name, mailbox, target, remote, remote_mailbox, depends_on, state, attempts,
        next_try_at, add, add_keywords, remove, remove_keywords, arguments,
    ) = row  # fmt: skip
    kind = Kind(kind_name)
    # A change of a message happens where the message is upstream, whatever became of it here.
    place = remote_mailbox if remote_mailbox is not None else mailbox
    needed = {target} if kind is Kind.APPEND else {place, target}
    in_label = kind in _MESSAGE_KINDS and not labels.isdisjoint({mailbox, target})
    names = (arguments.get("name"), arguments.get("from"), arguments.get("to")) if kind in _NAMED else ()
    delta = FlagDelta(FlagSet.of(add, add_keywords), FlagSet.of(remove, remove_keywords))
    return Queued(
        id=number,
        kind=kind,
        mailbox_id=place,
        target_id=target,
        remote_id=remote,
        depends_on_id=depends_on,
        delta=delta if kind in _FLAGGED else _NO_DELTA,
        names=tuple(name.strip(DELIMITER) for name in names if name),
        ready=next_try_at <= now,
        parked=state == MutationState.PARKED,
        sent=state == MutationState.SENT,
        has_place=not in_label and (kind is Kind.CREATE or all(one in upstream for one in needed if one is not None)),
        attempts=attempts,
    )
