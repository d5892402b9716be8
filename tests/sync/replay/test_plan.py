"""What of a queue can be replayed, in which order, and in how few commands."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mailcache.flags import FlagDelta, FlagSet
from sync.replay.plan import Kind, Plan, Queued, plan_replay

INBOX, ARCHIVE = 1, 2


def _add(*flags: str) -> FlagDelta:
    return FlagDelta(add=FlagSet.parse(flags))


def _remove(*flags: str) -> FlagDelta:
    return FlagDelta(remove=FlagSet.parse(flags))


def _store(number: int, remote: int | None, delta: FlagDelta, *, ready: bool = True, parked: bool = False) -> Queued:
    return Queued(number, Kind.STORE, INBOX, remote_id=remote, delta=delta, ready=ready, parked=parked)


def _ids(plan: Plan) -> list[list[int]]:
    return [[member.id for member in step.members] for step in plan.steps]


class TestFlags:
    def test_thousands_of_one_change_are_one_step(self) -> None:
        plan = plan_replay([_store(number, number, _add("\\Seen")) for number in range(1, 10_001)])
        assert len(plan.steps) == 1
        assert len(plan.steps[0].members) == 10_000

    def test_a_flag_that_is_toggled_ends_as_it_was_last_set(self) -> None:
        plan = plan_replay([_store(1, 5, _add("a")), _store(2, 5, _remove("a")), _store(3, 5, _add("a"))])
        (step,) = plan.steps
        assert step.delta == _add("a")
        assert [member.id for member in step.members] == [1, 2, 3]

    def test_changes_of_different_flags_of_one_message_become_one(self) -> None:
        (step,) = plan_replay([_store(1, 5, _add("\\Seen")), _store(2, 5, _remove("\\Flagged"))]).steps
        assert step.delta == FlagDelta(FlagSet.parse(["\\Seen"]), FlagSet.parse(["\\Flagged"]))

    def test_messages_with_the_same_sum_of_changes_share_a_step(self) -> None:
        queue = [_store(1, 5, _add("a")), _store(2, 6, _add("a", "b")), _store(3, 5, _add("b"))]
        assert _ids(plan_replay(queue)) == [[1, 3, 2]]

    def test_a_change_before_a_copy_is_not_merged_with_one_after_it(self) -> None:
        copy = Queued(2, Kind.COPY, INBOX, ARCHIVE, remote_id=5)
        assert _ids(plan_replay([_store(1, 5, _add("a")), copy, _store(3, 5, _remove("a"))])) == [[1], [2], [3]]

    def test_a_parked_change_holds_up_only_those_of_the_same_flags(self) -> None:
        queue = [_store(1, 5, _add("a"), parked=True), _store(2, 5, _add("b")), _store(3, 5, _remove("A"))]
        assert _ids(plan_replay(queue)) == [[2]]

    def test_a_parked_change_does_not_keep_a_message_from_being_copied(self) -> None:
        queue = [
            _store(1, 5, _add("a"), parked=True),
            _store(2, 5, _remove("a")),
            Queued(3, Kind.COPY, INBOX, ARCHIVE, remote_id=5),
        ]
        assert _ids(plan_replay(queue)) == [[3]]

    def test_a_change_that_is_tried_again_soon_comes_before_the_move(self) -> None:
        queue = [_store(1, 5, _add("a"), ready=False), Queued(2, Kind.MOVE, INBOX, ARCHIVE, remote_id=5)]
        assert _ids(plan_replay(queue)) == []

    def test_a_message_that_is_expunged_does_not_wait_for_its_flags(self) -> None:
        queue = [_store(1, 5, _add("a"), ready=False), Queued(2, Kind.EXPUNGE, INBOX, remote_id=5)]
        assert _ids(plan_replay(queue)) == [[2]]


class TestLabels:
    def _label(self, number: int, remote: int, label: int, *, added: bool = True, parked: bool = False) -> Queued:
        kind = Kind.LABEL if added else Kind.UNLABEL
        return Queued(number, kind, INBOX, label, remote_id=remote, parked=parked)

    def test_of_one_label_of_a_message_the_last_change_counts(self) -> None:
        (step,) = plan_replay([self._label(1, 5, 7), self._label(2, 5, 7, added=False)]).steps
        assert (step.kind, [member.id for member in step.members]) == (Kind.UNLABEL, [1, 2])

    def test_a_move_of_thousands_is_two_steps_of_one_level(self) -> None:
        queue = [self._label(number, number, 7) for number in range(1, 2001)]
        queue += [self._label(2000 + number, number, 8, added=False) for number in range(1, 2001)]
        steps = plan_replay(queue).steps
        assert [(step.level, step.kind, step.target_id, len(step.members)) for step in steps] == [
            (1, Kind.LABEL, 7, 2000),
            (1, Kind.UNLABEL, 8, 2000),
        ]

    def test_what_takes_the_message_away_comes_after_its_labels(self) -> None:
        move = Queued(3, Kind.MOVE, INBOX, ARCHIVE, remote_id=5)
        queue = [self._label(1, 5, 7), self._label(2, 5, 8), move, self._label(4, 5, 7, added=False)]
        assert _ids(plan_replay(queue)) == [[1], [2], [3], [4]]

    def test_a_parked_change_holds_up_only_the_same_label(self) -> None:
        queue = [
            self._label(1, 5, 7, parked=True),
            self._label(2, 5, 7, added=False),
            self._label(3, 5, 8),
            self._label(4, 6, 7),
        ]
        assert sorted(_ids(plan_replay(queue))) == [[3], [4]]

    def test_a_label_that_is_deleted_again_before_anybody_heard_of_it_leaves_no_trace(self) -> None:
        queue = [
            Queued(1, Kind.CREATE, 7, names=("New",)),
            self._label(2, 5, 7),
            self._label(3, 5, 8, added=False),
            Queued(4, Kind.DELETE, 7, names=("New",)),
        ]
        plan = plan_replay(queue)
        assert plan.cancelled == {1, 2, 4}
        assert _ids(plan) == [[3]]


class TestMessages:
    def test_a_thousand_appends_are_one_step_in_their_order(self) -> None:
        plan = plan_replay([Queued(number, Kind.APPEND, INBOX, INBOX) for number in range(1, 1001)])
        assert _ids(plan) == [list(range(1, 1001))]

    def test_a_parked_append_does_not_hold_up_the_next(self) -> None:
        queue = [Queued(1, Kind.APPEND, INBOX, INBOX, parked=True), Queued(2, Kind.APPEND, INBOX, INBOX)]
        assert _ids(plan_replay(queue)) == [[2]]

    def test_what_is_done_to_a_message_waits_until_it_is_there(self) -> None:
        append = Queued(1, Kind.APPEND, INBOX, INBOX)
        store = Queued(2, Kind.STORE, INBOX, depends_on_id=1, delta=_add("a"))
        assert _ids(plan_replay([append, store])) == [[1]]

    def test_those_whose_outcome_is_unknown_come_first_and_together(self) -> None:
        queue = [Queued(1, Kind.APPEND, INBOX, INBOX)]
        queue += [Queued(number, Kind.APPEND, INBOX, INBOX, sent=True) for number in (2, 3)]
        plan = plan_replay(queue)
        assert _ids(plan) == [[2, 3], [1]]
        assert [step.sent for step in plan.steps] == [True, False]

    def test_a_message_is_not_taken_away_before_it_was_copied(self) -> None:
        queue = [
            Queued(1, Kind.COPY, INBOX, ARCHIVE, remote_id=5, parked=True),
            _store(2, 5, _add("a")),
            Queued(3, Kind.EXPUNGE, INBOX, remote_id=5),
            Queued(4, Kind.EXPUNGE, INBOX, remote_id=6),
        ]
        assert _ids(plan_replay(queue)) == [[2], [4]]

    def test_nor_is_it_marked_as_deleted_which_would_be_copied(self) -> None:
        queue = [
            Queued(1, Kind.COPY, INBOX, ARCHIVE, remote_id=5, ready=False),
            _store(2, 5, _add("\\Deleted")),
            _store(3, 5, _add("\\Seen")),
            _store(4, 5, _remove("\\Deleted")),
            _store(5, 6, _add("\\Deleted")),
        ]
        assert _ids(plan_replay(queue)) == [[3], [5]]
        assert _ids(plan_replay([replace(queue[0], ready=True), *queue[1:]])) == [[1], [5], [2, 3, 4]]

    def test_a_copy_with_that_mark_waits_for_one_without_it_unless_that_is_parked(self) -> None:
        first = Queued(2, Kind.COPY, INBOX, ARCHIVE, remote_id=5)
        made = Queued(1, Kind.CREATE, ARCHIVE, names=("Archive",))
        later = [_store(3, 5, _add("\\Deleted", "\\Seen")), Queued(4, Kind.COPY, INBOX, 3, remote_id=5)]
        assert _ids(plan_replay([first, *later])) == [[2], [3], [4]]
        assert _ids(plan_replay([replace(first, ready=False), *later])) == []
        assert _ids(plan_replay([made, replace(first, has_place=False), *later])) == [[1]]
        assert _ids(plan_replay([replace(first, parked=True), *later])) == [[4]]
        assert _ids(plan_replay([replace(made, parked=True), replace(first, has_place=False), *later])) == [[4]]

    def test_an_append_that_is_expunged_again_leaves_no_trace(self) -> None:
        queue = [
            Queued(1, Kind.APPEND, INBOX, INBOX, parked=True),
            Queued(2, Kind.STORE, INBOX, depends_on_id=1, delta=_add("a")),
            Queued(3, Kind.EXPUNGE, INBOX, depends_on_id=1),
        ]
        assert plan_replay(queue) == Plan((), frozenset({1, 2, 3}))

    def test_one_that_may_have_arrived_is_not_cancelled(self) -> None:
        queue = [
            Queued(1, Kind.APPEND, INBOX, INBOX, sent=True),
            Queued(3, Kind.EXPUNGE, INBOX, depends_on_id=1),
        ]
        assert _ids(plan_replay(queue)) == [[1]]

    def test_one_that_was_copied_in_between_is_not_cancelled(self) -> None:
        queue = [
            Queued(1, Kind.APPEND, INBOX, INBOX),
            Queued(2, Kind.COPY, INBOX, ARCHIVE, depends_on_id=1),
            Queued(3, Kind.EXPUNGE, INBOX, depends_on_id=1),
        ]
        assert _ids(plan_replay(queue)) == [[1]]


class TestNames:
    def test_a_parked_rename_holds_up_what_is_above_and_below_but_no_message(self) -> None:
        queue = [
            Queued(1, Kind.RENAME, 7, names=("a", "b"), parked=True),
            Queued(2, Kind.CREATE, 8, names=("b/c",)),
            Queued(3, Kind.CREATE, 9, names=("other",)),
            Queued(4, Kind.STORE, 7, remote_id=5, delta=_add("x")),
            Queued(5, Kind.CREATE, 10, names=("a",)),
        ]
        assert _ids(plan_replay(queue)) == [[3], [4]]

    def test_related_names_are_changed_in_order(self) -> None:
        queue = [
            Queued(1, Kind.CREATE, 7, names=("a",)),
            Queued(2, Kind.CREATE, 8, names=("a/b",)),
            Queued(3, Kind.RENAME, 9, names=("x", "a/c")),
            Queued(4, Kind.CREATE, 10, names=("x",)),
        ]
        assert _ids(plan_replay(queue)) == [[1], [2], [3], [4]]

    def test_a_mailbox_goes_after_what_happens_in_it(self) -> None:
        queue = [
            Queued(1, Kind.APPEND, 7, 7),
            Queued(2, Kind.MOVE, 7, INBOX, remote_id=5),
            Queued(3, Kind.SUBSCRIBE, 7),
            Queued(4, Kind.DELETE, 7, names=("a",)),
        ]
        assert _ids(plan_replay(queue))[-1] == [4]

    def test_a_mailbox_stays_while_a_message_has_yet_to_be_taken_out(self) -> None:
        queue = [
            Queued(1, Kind.MOVE, 7, INBOX, remote_id=5, parked=True),
            Queued(2, Kind.DELETE, 7, names=("a",)),
            Queued(3, Kind.CREATE, 8, names=("a",)),
        ]
        assert _ids(plan_replay(queue)) == []

    def test_nobody_waits_for_flags_in_a_mailbox_that_goes(self) -> None:
        queue = [
            Queued(1, Kind.STORE, 7, remote_id=5, delta=_add("a"), parked=True),
            Queued(2, Kind.DELETE, 7, names=("a",)),
        ]
        assert _ids(plan_replay(queue)) == [[2]]

    def test_a_mailbox_that_was_made_and_deleted_leaves_no_trace(self) -> None:
        queue = [
            Queued(1, Kind.CREATE, 7, names=("a",), parked=True),
            Queued(2, Kind.APPEND, 7, 7, has_place=False),
            Queued(3, Kind.COPY, INBOX, 7, remote_id=5, has_place=False),
            Queued(4, Kind.DELETE, 7, names=("a",), has_place=False),
            Queued(5, Kind.CREATE, 8, names=("a",)),
        ]
        plan = plan_replay(queue)
        assert _ids(plan) == [[5]]
        assert plan.cancelled == {1, 2, 3, 4}

    def test_not_if_mail_was_moved_into_it(self) -> None:
        queue = [
            Queued(1, Kind.CREATE, 7, names=("a",)),
            Queued(2, Kind.MOVE, INBOX, 7, remote_id=5, has_place=False),
            Queued(3, Kind.DELETE, 7, names=("a",), has_place=False),
        ]
        assert _ids(plan_replay(queue)) == [[1]]


_DELTAS = st.builds(
    lambda flag, adds: _add(flag) if adds else _remove(flag),
    st.sampled_from(["a", "b", "\\Seen", "\\Deleted"]),
    st.booleans(),
)


@st.composite
def _queues(draw: st.DrawFn) -> list[Queued]:
    queue: list[Queued] = []
    creators: list[int] = []
    for number in range(1, draw(st.integers(0, 25)) + 1):
        kind = draw(
            st.sampled_from([Kind.STORE, Kind.STORE, Kind.STORE, Kind.APPEND, Kind.COPY, Kind.MOVE, Kind.EXPUNGE])
        )
        creator = draw(st.sampled_from([None, *creators])) if kind is not Kind.APPEND else None
        remote = draw(st.integers(1, 4)) if creator is None and kind is not Kind.APPEND else None
        fate = draw(st.sampled_from(["ready", "ready", "ready", "waits", "parked"]))
        is_creator = kind in (Kind.APPEND, Kind.COPY, Kind.MOVE)
        queue.append(
            Queued(
                number, kind, INBOX, ARCHIVE if is_creator else None, remote, creator,
                draw(_DELTAS) if kind is Kind.STORE else FlagDelta(),
                ready=fate == "ready", parked=fate == "parked",
                sent=is_creator and creator is None and draw(st.booleans()),
            )
        )  # fmt: skip
        if is_creator:
            creators.append(number)
    return queue


class TestAnyQueue:
    @given(_queues())
    def test_each_change_is_planned_at_most_once_and_only_if_it_may(self, queue: list[Queued]) -> None:
        plan = plan_replay(queue)
        planned = [member.id for step in plan.steps for member in step.members]
        assert len(planned) == len(set(planned))
        assert plan.cancelled.isdisjoint(planned)
        waiting = {change.id for change in queue} - plan.cancelled
        by_id = {change.id: change for change in queue}
        for number in planned:
            change = by_id[number]
            assert change.ready
            assert not change.parked
            assert change.depends_on_id not in waiting

    @given(_queues())
    def test_changes_of_one_message_keep_their_order(self, queue: list[Queued]) -> None:
        order: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for position, step in enumerate(plan_replay(queue).steps):
            for member in step.members:
                if member.remote_id is not None:
                    order[member.remote_id].append((position, member.id))
        for found in order.values():
            for (before, first), (after, second) in pairwise(sorted(found, key=lambda pair: pair[1])):
                assert before <= after, (first, second)

    @given(_queues())
    def test_flags_end_as_the_changes_one_by_one_would_have_left_them(self, queue: list[Queued]) -> None:
        plan = plan_replay(queue)
        planned = {member.id for step in plan.steps for member in step.members}
        flags: dict[int, FlagSet] = defaultdict(FlagSet)
        for step in plan.steps:
            for remote in {member.remote_id for member in step.members if member.remote_id is not None}:
                flags[remote] = step.delta.apply(flags[remote])
        expected: dict[int, FlagSet] = defaultdict(FlagSet)
        for change in queue:
            if change.id in planned and change.remote_id is not None:
                expected[change.remote_id] = change.delta.apply(expected[change.remote_id])
        assert dict(flags) == dict(expected)

    @given(_queues())
    def test_a_queue_without_obstacles_is_planned_as_a_whole(self, queue: list[Queued]) -> None:
        free = [change for change in queue if change.ready and not change.parked and change.depends_on_id is None]
        plan = plan_replay(free)
        assert {member.id for step in plan.steps for member in step.members} == {change.id for change in free}

    @given(_queues(), st.data())
    def test_one_more_obstacle_holds_up_nothing_of_other_messages(
        self, queue: list[Queued], data: st.DataObject
    ) -> None:
        if not queue:
            return
        parked = data.draw(st.sampled_from(queue))
        with_it = [change for change in queue if change.id != parked.id]
        before = _planned(plan_replay(with_it))
        obstacle = Queued(parked.id, parked.kind, INBOX, parked.target_id, parked.remote_id, parked=True)
        after = _planned(plan_replay(sorted([*with_it, obstacle], key=lambda change: change.id)))
        by_id = {change.id: change for change in queue}
        for number in before - after:
            lost = by_id[number]
            assert lost.remote_id == parked.remote_id or lost.depends_on_id == parked.id

    @given(_queues(), st.integers(0, 25))
    def test_the_beginning_of_a_queue_can_be_planned_alone(self, queue: list[Queued], length: int) -> None:
        assert _planned(plan_replay(queue[:length])) <= _planned(plan_replay(queue)) | plan_replay(queue).cancelled


def _planned(plan: Plan) -> set[int]:
    return {member.id for step in plan.steps for member in step.members}
