"""What one session was told of its mailbox: message numbers, and what is yet to be told (RFC 3501 7.3, 7.4). Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from imapfront.snapshot import Snapshot
from mailcache.wire.number_set import NumberSet, SequenceSet


@dataclass(frozen=True, slots=True)
class Updates:
    """What a session has to be told, in this order: EXPUNGE (numbers as they are to be sent), EXISTS, RECENT, FETCH."""

    expunged: Sequence[int] = ()
    exists: int | None = None
    recent: int | None = None
    changed: Sequence[int] = ()
    """Positions (from 0) in the view after the updates."""

    def __bool__(self) -> bool:
        return bool(self.expunged or self.changed or self.exists is not None)


@dataclass(slots=True)
class View:
    """The messages of a mailbox in the numbers that one client knows them by."""

    uids: array[int]
    modseq: int
    recent_uid: int
    told: dict[int, int] = field(default_factory=dict)
    """Messages whose flags a FETCH has told since the last ``sync``, with the modseq that was told."""

    @classmethod
    def of(cls, snapshot: Snapshot, *, recent_uid: int) -> View:
        """Begin with everything that a snapshot holds; messages from ``recent_uid`` on are recent here."""
        return cls(snapshot.uids, snapshot.highestmodseq, recent_uid)

    def __len__(self) -> int:
        return len(self.uids)

    @property
    def recent(self) -> int:
        """How many messages are recent."""
        return len(self.uids) - bisect_left(self.uids, self.recent_uid)

    def sync(self, snapshot: Snapshot) -> Updates:
        """Catch up with a snapshot, and return what the client has to be told of it."""
        if self.modseq >= snapshot.highestmodseq:
            return Updates()
        before = self.uids
        expunged: list[int] = []
        exists: int | None = None
        if before is not snapshot.uids:
            expunged = _expunged_numbers(before, snapshot.uids)
            if len(snapshot.uids) > len(before) - len(expunged):
                exists = len(snapshot.uids)
        last_known = before[-1] if before else 0
        self.uids = snapshot.uids
        changed = [
            position
            for uid in snapshot.changed_since(self.modseq)
            if uid <= last_known and (position := self.position(uid)) >= 0 and not self._was_told(uid, snapshot)
        ]
        self.told.clear()
        self.modseq = snapshot.highestmodseq
        return Updates(expunged, exists, self.recent if exists is not None else None, changed)

    def knows(self, uid: int, modseq: int) -> bool:
        """Tell whether the client was told what a message was like at ``modseq``."""
        return modseq <= self.modseq or self.told.get(uid, 0) >= modseq

    def untold(self, snapshot: Snapshot) -> list[int]:
        """Return the UIDs of messages whose flags have changed and are yet to be told, without those that are gone."""
        changed = (uid for uid in snapshot.changed_since(self.modseq) if self.position(uid) >= 0)
        return [uid for uid in changed if snapshot.position(uid) >= 0 and not self._was_told(uid, snapshot)]

    def _was_told(self, uid: int, snapshot: Snapshot) -> bool:
        return uid in self.told and self.told[uid] == snapshot.modseqs[snapshot.position(uid)]

    def position(self, uid: int) -> int:
        """Return where a message stands (from 0), or -1."""
        position = bisect_left(self.uids, uid)
        return position if position < len(self.uids) and self.uids[position] == uid else -1

    def positions(self, numbers: SequenceSet, *, uid: bool) -> list[range]:
        """Return what a client named, as ranges of positions (from 0), ascending.

        UIDs that do not exist are left out (RFC 3501 6.4.8). A message number beyond the end raises ``IndexError``.
        """
        if uid:
            wanted = numbers.resolve(self.uids[-1] if self.uids else 0)
            found = [
                range(bisect_left(self.uids, first), bisect_right(self.uids, last)) for first, last in wanted.ranges
            ]
            return [positions for positions in found if positions]
        wanted = numbers.resolve(len(self.uids))
        if wanted and wanted.ranges[-1][1] > len(self.uids):
            raise IndexError("no such message")
        return [range(first - 1, last) for first, last in wanted.ranges]

    def uid_set(self, positions: Sequence[range]) -> NumberSet:
        """Return the UIDs at positions."""
        return NumberSet.from_numbers(self.uids[position] for one in positions for position in one)


def _expunged_numbers(before: array[int], after: array[int]) -> list[int]:
    """Return message numbers for EXPUNGE responses: from the highest down, so that none changes another."""
    if len(after) >= len(before) and after[: len(before)] == before:
        return []
    present = set(after)
    return [number for number in range(len(before), 0, -1) if before[number - 1] not in present]
