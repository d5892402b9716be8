"""What of a queue of local changes can be replayed now, and in which commands. Pure.

Changes of different messages commute, so that thousands of flag changes become a handful of commands; those of one
message keep their order, and so do those of mailbox names. What cannot be done yet, or is parked, holds up only what
depends on it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from mailcache.flags import FlagDelta


class Kind(Enum):
    """The kinds of changes, by the names that the queue has for them."""

    STORE = "store"
    APPEND = "append"
    COPY = "copy"
    MOVE = "move"
    EXPUNGE = "expunge"
    CREATE = "create"
    DELETE = "delete"
    RENAME = "rename"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"


_NO_DELTA = FlagDelta()
_NAME_KINDS = frozenset({Kind.CREATE, Kind.DELETE, Kind.RENAME, Kind.SUBSCRIBE, Kind.UNSUBSCRIBE})
_SOURCE_KINDS = frozenset({Kind.STORE, Kind.COPY, Kind.MOVE, Kind.EXPUNGE})


@dataclass(frozen=True, slots=True)
class Queued:
    """One change of the queue. Mailboxes are named by their row; ``remote_id`` is the upstream message it acts on.

    ``ready``: its time has come and it is not parked. ``sent``: it was sent before and its outcome is not known.
    ``has_place``: the mailboxes that it needs exist upstream.
    """

    id: int
    kind: Kind
    mailbox_id: int | None = None
    target_id: int | None = None
    remote_id: int | None = None
    depends_on_id: int | None = None
    delta: FlagDelta = _NO_DELTA
    ready: bool = True
    sent: bool = False
    has_place: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """Changes that go upstream together. For STORE ``members`` may hold several changes of one message."""

    kind: Kind
    mailbox_id: int | None
    target_id: int | None
    delta: FlagDelta
    members: tuple[Queued, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order; ``cancelled`` changes undo each other and need not be sent; ``superseded`` ones are moot."""

    steps: tuple[Step, ...] = ()
    cancelled: frozenset[int] = frozenset()


@dataclass(slots=True)
class _Levels:
    """How far each message, mailbox and the names as a whole have come: what follows is at a later level."""

    reached: dict[Hashable, int] = field(default_factory=dict)
    blocked: set[Hashable] = field(default_factory=set)

    def next_after(self, things: Iterable[Hashable]) -> int:
        return max((self.reached.get(thing, 0) for thing in things), default=0)


def plan_replay(queue: Sequence[Queued]) -> Plan:
    """Return what can be done now of a queue in the order in which it was made."""
    cancelled = _cancelled(queue)
    waiting = {change.id for change in queue}
    levels = _Levels()
    placed: dict[tuple[int, str, Hashable], list[Queued]] = {}
    for change in _collapsed([change for change in queue if change.id not in cancelled]):
        things = _things(change)
        behind = _behind(change)
        is_possible = (
            change.ready
            and change.has_place
            and change.depends_on_id not in waiting
            and not (change.kind in _SOURCE_KINDS and change.remote_id is None)
            and levels.blocked.isdisjoint(behind)
        )
        if not is_possible:
            levels.blocked.update(things)
            continue
        level = levels.next_after(behind) + 1
        for thing in things:
            levels.reached[thing] = max(level, levels.reached.get(thing, 0))
        placed.setdefault((level, change.kind.value, _command(change)), []).append(change)
    steps = [_step(members) for _, members in sorted(placed.items(), key=lambda item: (item[0][0], item[1][0].id))]
    return Plan(tuple(steps), cancelled)


def _things(change: Queued) -> list[Hashable]:
    """Return what a change touches: later changes of the same things come after it."""
    if change.kind in _NAME_KINDS:
        return ["names", ("name", change.mailbox_id)]
    things: list[Hashable] = [("inside", mailbox) for mailbox in (change.mailbox_id, change.target_id) if mailbox]
    if change.remote_id is not None:
        things.append(("remote", change.remote_id))
    if change.kind is Kind.APPEND:
        things.append(("appends", change.target_id))
    return things


def _behind(change: Queued) -> list[Hashable]:
    """Return what must have been done before a change: not all that it touches, or nothing would commute."""
    if change.kind is Kind.DELETE:
        # What happens inside a mailbox happens before it goes.
        return ["names", ("name", change.mailbox_id), ("inside", change.mailbox_id)]
    if change.kind in _NAME_KINDS:
        return ["names", ("name", change.mailbox_id)]
    if change.kind is Kind.APPEND:
        return [("appends", change.target_id)]
    return [("remote", change.remote_id)]


def _command(change: Queued) -> Hashable:
    """Return what makes two changes fit into one command."""
    if change.kind in _NAME_KINDS:
        return change.id
    if change.sent:
        # Its outcome has to be looked up first, by itself.
        return (change.mailbox_id, change.target_id, "sent", change.id)
    return (change.mailbox_id, change.target_id, _key(change.delta))


def _key(delta: FlagDelta) -> Hashable:
    return (delta.add, delta.remove)


def _step(members: list[Queued]) -> Step:
    first = members[0]
    return Step(first.kind, first.mailbox_id, first.target_id, first.delta, tuple(members))


def _cancelled(queue: Sequence[Queued]) -> frozenset[int]:
    """Return appends that were never sent and are expunged again, with their expunges: nothing to be seen upstream."""
    appends = {change.id: change for change in queue if change.kind is Kind.APPEND and not change.sent}
    dependents: dict[int, list[Queued]] = {}
    for change in queue:
        if change.depends_on_id in appends:
            dependents.setdefault(change.depends_on_id, []).append(change)
    gone: set[int] = set()
    for append_id, later in dependents.items():
        if any(one.kind is Kind.EXPUNGE for one in later) and all(
            one.kind in (Kind.EXPUNGE, Kind.STORE) and not one.sent for one in later
        ):
            gone |= {append_id, *(one.id for one in later)}
    return frozenset(gone)


def _collapsed(queue: Sequence[Queued]) -> list[Queued]:
    """Merge consecutive changes of flags of one message into the last of them (field note 53).

    The earlier ones stay in the queue, with the merged delta, so that all of them settle together.
    """
    last: dict[int, int] = {}
    merged = list(queue)
    runs: dict[int, list[int]] = {}
    for index, change in enumerate(queue):
        if change.remote_id is None:
            continue
        before = last.get(change.remote_id)
        if change.kind is Kind.STORE and change.ready and before is not None and merged[before].kind is Kind.STORE:
            runs.setdefault(change.remote_id, [before]).append(index)
        elif change.kind is Kind.STORE:
            runs[change.remote_id] = [index]
        last[change.remote_id] = index
        if change.kind is not Kind.STORE:
            _merge(merged, runs.pop(change.remote_id, []))
    for run in runs.values():
        _merge(merged, run)
    return merged


def _merge(queue: list[Queued], run: Sequence[int]) -> None:
    if len(run) < 2 or not all(queue[index].ready for index in run):
        return
    delta = FlagDelta()
    for index in run:
        delta = delta.then(queue[index].delta)
    for index in run:
        queue[index] = replace(queue[index], delta=delta)
