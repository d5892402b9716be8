"""What of a queue of local changes can be replayed now, and in which commands. Pure.

Changes of different messages commute, so thousands of flag changes become a handful of commands; those of one message
keep their order, and so do those of related mailbox names. What cannot be done yet, or is parked, holds up only what
depends on it:

| cannot be done now | holds up |
|---|---|
| any APPEND, COPY, MOVE | what was done to the message that it makes (``depends_on``) |
| COPY, MOVE | what takes their source away: MOVE, EXPUNGE, DELETE of its mailbox, STORE of ``\\Deleted`` |
| STORE | a STORE of the same message that touches the same flags; unless it is parked, also COPY and MOVE |
| LABEL, UNLABEL | the same label of the same message |
| CREATE, DELETE, RENAME | the same for names above and below its own |
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from mailcache.flags import FlagDelta, FlagSet, SystemFlag


class Kind(Enum):
    """The kinds of changes, by the names that the queue has for them."""

    STORE = "store"
    APPEND = "append"
    COPY = "copy"
    MOVE = "move"
    EXPUNGE = "expunge"
    LABEL = "label"
    UNLABEL = "unlabel"
    CREATE = "create"
    DELETE = "delete"
    RENAME = "rename"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"


_TREE_KINDS = frozenset({Kind.CREATE, Kind.DELETE, Kind.RENAME})
_SUBSCRIPTION_KINDS = frozenset({Kind.SUBSCRIBE, Kind.UNSUBSCRIBE})
_LABEL_KINDS = frozenset({Kind.LABEL, Kind.UNLABEL})
_SOURCE_KINDS = frozenset({Kind.STORE, Kind.COPY, Kind.MOVE, Kind.EXPUNGE}) | _LABEL_KINDS
_LEAVING_KINDS = frozenset({Kind.COPY, Kind.MOVE})
_TAKING_KINDS = frozenset({Kind.MOVE, Kind.EXPUNGE})
# What may happen in a mailbox that was made and deleted again without the upstream having to know of it.
_TRACELESS_KINDS = frozenset({Kind.CREATE, Kind.DELETE, Kind.STORE, Kind.APPEND, Kind.EXPUNGE}) | _SUBSCRIPTION_KINDS

_NO_DELTA = FlagDelta()
_NO_FLAGS = FlagSet()


@dataclass(frozen=True, slots=True)
class Queued:
    """One change of the queue. Mailboxes are named by their row; ``remote_id`` is the upstream message it acts on.

    ``ready``: its time has come and it is not ``parked``. ``sent``: it was sent before and its outcome is not known.
    ``has_place``: the mailboxes that it needs exist upstream. ``names`` are the names that CREATE, DELETE and RENAME
    are about, ours.
    """

    id: int
    kind: Kind
    mailbox_id: int | None = None
    target_id: int | None = None
    remote_id: int | None = None
    depends_on_id: int | None = None
    delta: FlagDelta = _NO_DELTA
    names: tuple[str, ...] = ()
    ready: bool = True
    parked: bool = False
    sent: bool = False
    has_place: bool = True
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """Changes that go upstream together, in order. Several STOREs of one message have become one ``delta``.

    Where ``sent`` is true they went there before, and what became of them has to be looked up. Steps of one ``level``
    do not depend on each other.
    """

    level: int
    kind: Kind
    mailbox_id: int | None
    target_id: int | None
    delta: FlagDelta
    sent: bool
    members: tuple[Queued, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order; ``cancelled`` changes undo each other and need not be sent."""

    steps: tuple[Step, ...] = ()
    cancelled: frozenset[int] = frozenset()


def plan_replay(queue: Sequence[Queued]) -> Plan:
    """Return what can be done now of a queue in the order in which it was made (ascending ids).

    The beginning of a queue may be planned without its end: no change depends on a later one.
    """
    cancelled = _cancelled_messages(queue) | _cancelled_mailboxes(queue)
    planner = _Planner({change.id for change in queue} - cancelled)
    for change in queue:
        if change.id not in cancelled:
            planner.take(change)
    return Plan(planner.steps(), cancelled)


@dataclass(slots=True)
class _Unit:
    """What is done at once to one message: one change, or consecutive changes of its flags or of one label."""

    level: int
    members: list[Queued]
    delta: FlagDelta


@dataclass(slots=True)
class _Message:
    """How far one upstream message has come."""

    last: _Unit | None = None
    held_flags: FlagSet = _NO_FLAGS
    """Flags of STOREs that cannot be done now."""
    holds_store: bool = False
    """One of these is not parked."""
    holds_source: bool = False
    """A COPY or MOVE of it cannot be done now."""
    waits_source: bool = False
    """One of these is not parked, nor is what it needs."""
    labels: dict[int | None, _Unit] = field(default_factory=dict)
    """Changes of its labels since the last other one, by label mailbox: they do not depend on each other."""
    held_labels: set[int | None] = field(default_factory=set)
    """Labels of which a change cannot be done now."""


@dataclass(slots=True)
class _Tree:
    """What was done, and what could not be, to names and to what is above and below them."""

    at: dict[str, int] = field(default_factory=dict)
    below: dict[str, int] = field(default_factory=dict)
    held_at: set[str] = field(default_factory=set)
    held_below: set[str] = field(default_factory=set)

    def level(self, names: Iterable[str]) -> int:
        above = max((self.at.get(path, 0) for name in names for path in _lineage(name)), default=0)
        return max(above, max((self.below.get(name, 0) for name in names), default=0))

    def is_held(self, names: Iterable[str]) -> bool:
        return any(name in self.held_below or not self.held_at.isdisjoint(_lineage(name)) for name in names)

    def reach(self, names: Iterable[str], level: int) -> None:
        for name in names:
            self.at[name] = max(level, self.at.get(name, 0))
            for path in _lineage(name):
                self.below[path] = max(level, self.below.get(path, 0))

    def hold(self, names: Iterable[str]) -> None:
        for name in names:
            self.held_at.add(name)
            self.held_below.update(_lineage(name))


class _Planner:
    """Takes the changes in order and gives each the first level at which all that it waits for is done."""

    def __init__(self, waiting: set[int]) -> None:
        self._waiting = waiting
        self._messages: dict[int, _Message] = {}
        self._tree = _Tree()
        self._inside: dict[int | None, int] = {}
        """The last level at which something happens in a mailbox."""
        self._unmade: set[int | None] = set()
        """Mailboxes that cannot be created now."""
        self._leaving_held: set[int | None] = set()
        """Mailboxes that messages have yet to be taken out of."""
        self._subscriptions: dict[int | None, int] = {}
        self._subscriptions_held: set[int | None] = set()
        self._units: list[_Unit] = []

    def take(self, change: Queued) -> None:
        """Give a change its place, or note what it holds up."""
        if change.kind in _TREE_KINDS:
            self._take_name(change)
        elif change.kind in _SUBSCRIPTION_KINDS:
            self._take_subscription(change)
        elif change.kind is Kind.APPEND:
            if self._is_possible(change):
                self._place(change, 1)
        else:
            self._take_message(change)

    def steps(self) -> tuple[Step, ...]:
        """Return the units, those of one level that fit into one command together."""
        groups: dict[tuple[int, bool, Hashable], list[Queued]] = {}
        for unit in self._units:
            first = unit.members[0]
            alone = first.id if first.kind in _TREE_KINDS | _SUBSCRIPTION_KINDS else None
            command = (first.kind, first.mailbox_id, first.target_id, unit.delta.add, unit.delta.remove, alone)
            members = groups.setdefault((unit.level, not first.sent, command), [])
            members.extend(replace(member, delta=unit.delta) for member in unit.members)
        in_order = sorted(groups.items(), key=lambda group: (group[0][0], group[0][1], group[1][0].id))
        return tuple(_step(level, members) for (level, _, _), members in in_order)

    def _is_possible(self, change: Queued) -> bool:
        has_source = change.kind not in _SOURCE_KINDS or change.remote_id is not None or change.sent
        return (
            change.ready
            and not change.parked
            and change.has_place
            and change.depends_on_id not in self._waiting
            and has_source
        )

    def _place(self, change: Queued, level: int) -> _Unit:
        unit = _Unit(level, [change], change.delta)
        self._units.append(unit)
        for mailbox in (change.mailbox_id, change.target_id):
            self._inside[mailbox] = max(level, self._inside.get(mailbox, 0))
        return unit

    def _take_message(self, change: Queued) -> None:
        message = _Message() if change.remote_id is None else self._messages.setdefault(change.remote_id, _Message())
        if not self._is_possible(change) or _is_held(change, message):
            self._hold(change, message)
            return
        if change.kind in _LABEL_KINDS:
            self._take_label(change, message)
            return
        last = message.last
        if change.kind is Kind.STORE and last is not None and last.members[-1].kind is Kind.STORE:
            last.members.append(change)
            last.delta = last.delta.then(change.delta)
        else:
            self._follow(change, message)

    def _follow(self, change: Queued, message: _Message) -> _Unit:
        message.labels.clear()
        last = message.last
        message.last = unit = self._place(change, last.level + 1 if last is not None else 1)
        return unit

    def _take_label(self, change: Queued, message: _Message) -> None:
        """Let of several changes of one label the last one count; those of different labels go side by side."""
        unit = message.labels.get(change.target_id)
        if unit is not None:
            unit.members = [replace(member, kind=change.kind) for member in [*unit.members, change]]
        elif message.labels and message.last is not None:
            message.labels[change.target_id] = self._place(change, message.last.level)
        else:
            message.labels[change.target_id] = self._follow(change, message)

    def _hold(self, change: Queued, message: _Message) -> None:
        if change.kind is Kind.STORE:
            # One that only waits for a parked one is as good as parked.
            waits = (_marks(change) and message.waits_source) or not _is_held(change, message)
            message.holds_store = message.holds_store or (waits and not change.parked)
            message.held_flags = message.held_flags.merged(add=_touched(change), remove=_NO_FLAGS)
        elif change.kind in _LABEL_KINDS:
            message.held_labels.add(change.target_id)
        elif change.kind in _LEAVING_KINDS:
            message.holds_source = True
            message.waits_source |= not change.parked and change.target_id not in self._unmade
            self._leaving_held.add(change.mailbox_id)

    def _take_name(self, change: Queued) -> None:
        leaves = change.kind is Kind.DELETE and change.mailbox_id in self._leaving_held
        if leaves or not self._is_possible(change) or self._tree.is_held(change.names):
            self._tree.hold(change.names)
            if change.kind is Kind.CREATE:
                self._unmade.add(change.mailbox_id)
            return
        level = self._tree.level(change.names) + 1
        if change.kind is Kind.DELETE:
            # What happens inside a mailbox happens before it goes.
            level = max(level, self._inside.get(change.mailbox_id, 0) + 1)
        self._tree.reach(change.names, level)
        self._place(change, level)

    def _take_subscription(self, change: Queued) -> None:
        if not self._is_possible(change) or change.mailbox_id in self._subscriptions_held:
            self._subscriptions_held.add(change.mailbox_id)
            return
        level = self._subscriptions[change.mailbox_id] = self._subscriptions.get(change.mailbox_id, 0) + 1
        self._place(change, level)


def _is_held(change: Queued, message: _Message) -> bool:
    """Tell whether a change depends on something of the same message that cannot be done now."""
    if change.kind is Kind.STORE:
        is_behind_copy = message.holds_source and _marks(change)
        return is_behind_copy or _touched(change).without(message.held_flags) != _touched(change)
    if change.kind in _LABEL_KINDS:
        return change.target_id in message.held_labels
    if change.kind in _LEAVING_KINDS and message.holds_store:
        return True
    return change.kind in _TAKING_KINDS and message.holds_source


def _marks(change: Queued) -> bool:
    """Tell whether it marks a message as deleted."""
    return SystemFlag.DELETED in change.delta.add.system


def _touched(change: Queued) -> FlagSet:
    return change.delta.add.merged(add=change.delta.remove, remove=_NO_FLAGS)


def _step(level: int, members: list[Queued]) -> Step:
    first = members[0]
    return Step(level, first.kind, first.mailbox_id, first.target_id, first.delta, first.sent, tuple(members))


def _lineage(name: str) -> Iterator[str]:
    """Yield a name and those above it."""
    while name:
        yield name
        name = name.rpartition("/")[0]


def _cancelled_messages(queue: Sequence[Queued]) -> frozenset[int]:
    """Return appends and copies that were never sent and are expunged again, with their expunges."""
    made = {change.id for change in queue if change.kind in (Kind.APPEND, Kind.COPY) and not change.sent}
    dependents: dict[int, list[Queued]] = {}
    for change in queue:
        if change.depends_on_id in made:
            dependents.setdefault(change.depends_on_id or 0, []).append(change)
    gone: set[int] = set()
    for creator_id, later in dependents.items():
        kinds = {one.kind for one in later}
        if Kind.EXPUNGE in kinds and kinds <= {Kind.EXPUNGE, Kind.STORE}:
            gone |= {creator_id, *(one.id for one in later)}
    return frozenset(gone)


def _cancelled_mailboxes(queue: Sequence[Queued]) -> frozenset[int]:
    """Return all that happened in mailboxes that were made and deleted again before the upstream heard of them."""
    made = {change.mailbox_id for change in queue if change.kind is Kind.CREATE}
    deleted = {change.mailbox_id for change in queue if change.kind is Kind.DELETE}
    inside: dict[int | None, list[Queued]] = {}
    for change in queue:
        for mailbox in {change.mailbox_id, change.target_id} & made & deleted:
            inside.setdefault(mailbox, []).append(change)
    gone: set[int] = set()
    for mailbox, changes in inside.items():
        if all(_is_traceless(change, mailbox) for change in changes):
            gone |= {change.id for change in changes}
    return frozenset(gone)


def _is_traceless(change: Queued, mailbox: int | None) -> bool:
    is_inside = change.kind in _TRACELESS_KINDS and change.mailbox_id == mailbox
    is_copied_in = change.kind in _LABEL_KINDS | {Kind.COPY} and change.mailbox_id != mailbox
    return (is_inside or is_copied_in) and not change.sent
