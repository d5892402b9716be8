"""A mailbox in memory: packed arrays, shared by all sessions of a process that have it open. Pure.

UID arrays are never changed in place: a session's view may hold on to one while the snapshot moves on.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mailcache.flags import FlagSet
from mailcache.wire.number_set import NumberSet

# How many changes are remembered for sessions that look seldom; who looks later compares everything.
_HISTORY = 1000

MessageRow = tuple[int, int, str, int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Step:
    modseq: int
    changed: frozenset[int]


@dataclass(slots=True)
class Snapshot:
    """All messages of one mailbox as of ``highestmodseq``, ascending by UID."""

    uidvalidity: int
    uidnext: int
    highestmodseq: int
    uids: array[int] = field(default_factory=lambda: array("I"))
    flag_indexes: array[int] = field(default_factory=lambda: array("I"))
    modseqs: array[int] = field(default_factory=lambda: array("Q"))
    sizes: array[int] = field(default_factory=lambda: array("Q"))
    dates: array[int] = field(default_factory=lambda: array("q"))
    zones: array[int] = field(default_factory=lambda: array("h"))
    combinations: list[FlagSet] = field(default_factory=list)
    rendered: list[bytes] = field(default_factory=list)
    _index_of: dict[tuple[int, str], int] = field(default_factory=dict)
    _steps: deque[_Step] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    _remembered_from: int = 0

    @classmethod
    def load(cls, *, uidvalidity: int, uidnext: int, highestmodseq: int, messages: Sequence[MessageRow]) -> Snapshot:
        """Build from rows ascending by UID."""
        snapshot = cls(uidvalidity, uidnext, highestmodseq)
        snapshot._remembered_from = highestmodseq
        if messages:
            uids, flags, keywords, modseqs, sizes, dates, zones = zip(*messages, strict=True)
            snapshot.uids = array("I", uids)
            snapshot.flag_indexes = array("I", map(snapshot._combination, flags, keywords))
            snapshot.modseqs = array("Q", modseqs)
            snapshot.sizes = array("Q", sizes)
            snapshot.dates = array("q", dates)
            snapshot.zones = array("h", zones)
        return snapshot

    def __len__(self) -> int:
        return len(self.uids)

    def position(self, uid: int) -> int:
        """Return where a message stands (from 0), or -1 when it is not there."""
        position = bisect_left(self.uids, uid)
        return position if position < len(self.uids) and self.uids[position] == uid else -1

    def flags(self, uid: int) -> FlagSet:
        """Return a message's flags; raises ``KeyError``."""
        position = self.position(uid)
        if position < 0:
            raise KeyError(uid)
        return self.combinations[self.flag_indexes[position]]

    def apply(self, *, uidnext: int, highestmodseq: int, expunged: NumberSet, messages: Iterable[MessageRow]) -> None:
        """Move on to ``highestmodseq``: messages that went, then rows that are new or changed."""
        if highestmodseq <= self.highestmodseq:
            return
        if expunged:
            self._remove(expunged)
        changed: set[int] = set()
        appeared: list[MessageRow] = []
        for row in messages:
            position = self.position(row[0])
            if position < 0:
                appeared.append(row)
            else:
                self._change(position, row)
                changed.add(row[0])
        if appeared:
            self._append(appeared)
        self.uidnext, self.highestmodseq = uidnext, highestmodseq
        if len(self._steps) == _HISTORY:
            self._remembered_from = self._steps[0].modseq
        self._steps.append(_Step(highestmodseq, frozenset(changed)))

    def changed_since(self, modseq: int) -> list[int]:
        """Return the UIDs of messages that changed after ``modseq``, ascending; also of those that appeared."""
        if modseq >= self.highestmodseq:
            return []
        if modseq >= self._remembered_from:
            return sorted(set().union(*(step.changed for step in self._steps if step.modseq > modseq)))
        return [uid for uid, at in zip(self.uids, self.modseqs, strict=True) if at > modseq]

    def keywords(self) -> list[str]:
        """Return all keywords in use, sorted; one spelling each."""
        in_use = set(self.flag_indexes)
        found: dict[str, str] = {}
        for index in in_use:
            for keyword in self.combinations[index].keywords:
                found.setdefault(keyword.lower(), keyword)
        return sorted(found.values())

    def _combination(self, flags: int, keywords: str) -> int:
        key = (flags, keywords)
        index = self._index_of.get(key)
        if index is None:
            index = self._index_of[key] = len(self.combinations)
            combination = FlagSet.of(flags, keywords.split())
            self.combinations.append(combination)
            self.rendered.append(combination.render())
        return index

    def _change(self, position: int, row: MessageRow) -> None:
        self.flag_indexes[position] = self._combination(row[1], row[2])
        self.modseqs[position] = row[3]
        self.sizes[position] = row[4]

    def _append(self, rows: list[MessageRow]) -> None:
        last = self.uids[-1] if self.uids else 0
        if rows[0][0] <= last:
            raise ValueError("a message appeared below the highest UID")
        self.uids = self.uids + array("I", [row[0] for row in rows])
        self.flag_indexes.extend(self._combination(row[1], row[2]) for row in rows)
        self.modseqs.extend(row[3] for row in rows)
        self.sizes.extend(row[4] for row in rows)
        self.dates.extend(row[5] for row in rows)
        self.zones.extend(row[6] for row in rows)

    def _remove(self, expunged: NumberSet) -> None:
        kept = [position for position, uid in enumerate(self.uids) if uid not in expunged]
        if len(kept) == len(self.uids):
            return
        self.uids = array("I", [self.uids[position] for position in kept])
        for name in ("flag_indexes", "modseqs", "sizes", "dates", "zones"):
            values = getattr(self, name)
            setattr(self, name, array(values.typecode, [values[position] for position in kept]))
