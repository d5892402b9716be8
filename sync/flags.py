"""Flags of messages that are here already: what the upstream changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from mailcache.flags import FlagSet
from mailcache.models import Mailbox, Remote
from mailcache.services.ingest_flags import apply_upstream_flags
from sync import planner
from sync.gmail import canonical_labels
from sync.label_mailboxes import are_labels_told, take_labels
from sync.upstream.errors import CommandBad, NotOffered
from sync.upstream.protocol.fetch import command_sets
from sync.upstream.values import FetchedMessage
from sync.work import SliceWork

# One command's answer: some 200 KB.
_READ_MESSAGES = 2_000
SINCE_MESSAGES = 10_000
"""Messages of which one command asks which changed."""

_ITEMS = b"(FLAGS)"
_ITEMS_AND_LABELS = b"(FLAGS X-GM-LABELS)"


class FlagComparison:
    """Takes over the flags of one mailbox's messages that differ from those last agreed.

    A message that an answer leaves out keeps its flags. ``changed`` tells whether any differed.
    """

    def __init__(self, work: SliceWork, mailbox: Mailbox, *, settlements: int = 0) -> None:
        self._work = work
        self._settlements = settlements
        self._mailbox = mailbox
        self._uidvalidity = mailbox.upstream_uidvalidity or 0
        self._with_labels = are_labels_told(work, mailbox)
        self.changed = False

    def take(self, messages: Iterable[FetchedMessage]) -> None:
        """Take what the upstream told already."""
        collector = _Collector()
        for message in messages:
            collector(message)
        self._take(collector)

    def read_since(self, modseq: int, uids: Sequence[int]) -> None:
        """Ask what changed since ``modseq`` among messages (ascending) that are here.

        An upstream that refuses what it offers (quirk 42) is asked for all flags instead.
        """
        try:
            self._read_since(modseq, uids)
        except (CommandBad, NotOffered):
            self.read(uids)

    def read(self, uids: Sequence[int], *, on_read: Callable[[int], None] | None = None) -> None:
        """Ask for the flags of messages (ascending), the newest first.

        ``on_read`` is told down to which UID all flags have been read.
        """
        for end in range(len(uids), 0, -_READ_MESSAGES):
            piece = uids[max(0, end - _READ_MESSAGES) : end]
            self._fetch(piece)
            if on_read is not None:
                on_read(piece[0])

    def _read_since(self, modseq: int, uids: Sequence[int]) -> None:
        for piece in planner.chunks(uids, SINCE_MESSAGES):
            self._fetch(piece, changed_since=modseq)

    def _fetch(self, uids: Sequence[int], *, changed_since: int | None = None) -> None:
        collector = _Collector()
        items = _ITEMS_AND_LABELS if self._with_labels else _ITEMS
        client = self._work.upstream.client
        for sequence_set in self._sets(uids):
            client.uid_fetch_set(sequence_set, items, on_message=collector, changed_since=changed_since)
        self._take(collector)

    def _sets(self, uids: Sequence[int]) -> Iterable[bytes]:
        """Return the span of the messages: what it names besides is not here, and a list of them would be long."""
        profile = self._work.upstream.profile
        if profile.wide_ranges:
            return [b"%d:%d" % (uids[0], uids[-1])]
        return command_sets(uids, most=profile.largest_fetch)

    def _take(self, collector: _Collector) -> None:
        self._apply(
            {uid: flags.unmarked() for uid, flags in collector.flags.items()} if self._with_labels else collector.flags
        )
        if self._with_labels:
            self.changed = self._take_labels(collector) or self.changed

    def _take_labels(self, collector: _Collector) -> bool:
        return take_labels(self._work, self._mailbox, collector.labels, settlements=self._settlements)

    def _apply(self, upstream: Mapping[int, FlagSet]) -> None:
        for chunk in planner.chunks(sorted(upstream)):
            changed = planner.changed_flags({uid: upstream[uid] for uid in chunk}, self._agreed(chunk))
            if not changed:
                continue
            self.changed = True
            self._work.counters.flags_changed += apply_upstream_flags(
                fence=self._work.fence,
                mailbox_id=self._mailbox.pk,
                uidvalidity=self._uidvalidity,
                flags=changed,
                settlements=self._settlements,
            )
            self._work.pause_point()

    def _agreed(self, uids: Sequence[int]) -> dict[int, FlagSet]:
        rows = Remote.objects.numbered(self._mailbox.account_id, self._mailbox.pk, self._uidvalidity)
        found = rows.filter(uid__in=uids).values_list("uid", "flags", "keywords")
        return {uid: FlagSet.of(flags, keywords) for uid, flags, keywords in found}


class _Collector:
    """Keeps flags and labels by UID; equal ones once."""

    def __init__(self) -> None:
        self.flags: dict[int, FlagSet] = {}
        self.labels: dict[int, tuple[str, ...]] = {}
        self._interned: dict[tuple[str, ...], FlagSet] = {}
        self._canonical = lru_cache(maxsize=1_000)(canonical_labels)

    def __call__(self, message: FetchedMessage) -> None:
        if message.uid is not None and message.labels is not None:
            self.labels[message.uid] = self._canonical(message.labels)
        if message.uid is None or message.flags is None:
            return
        flags = self._interned.get(message.flags)
        if flags is None:
            flags = self._interned[message.flags] = FlagSet.parse(message.flags)
        self.flags[message.uid] = flags
