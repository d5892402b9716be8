"""Every row of the merge table that the services carry out, on PostgreSQL; ``tests/sync/replay`` has the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product

import pytest

from mailcache.flags import FlagDelta, FlagSet, StoreMode
from mailcache.merge import RULES, Change, Event, Outcome, merged_flags, merged_name, outcome
from mailcache.models import Mailbox, Message, Mutation, MutationKind, MutationState, Remote
from mailcache.services.ingest_expunge import remove_messages, remove_other_uidvalidities
from mailcache.services.ingest_flags import apply_upstream_flags
from mailcache.services.ingest_list import ingest_mailbox_list
from mailcache.services.ingest_skeleton import add_messages
from mailcache.services.mailbox_changes import rename_mailbox
from mailcache.services.transfer import copy_messages, move_messages
from mailcache.services.vanished import settle_vanished
from sync.replay.queue import lost_transfers
from tests.builders import (
    UIDVALIDITY,
    add_bodies,
    add_skeleton,
    let_time_pass,
    make_mailboxes,
    message_bytes,
    row_of,
    upstream_mailbox,
)
from tests.mailcache.queued import EVERYTHING, QueuedAccount
from tests.mailcache.rows import check_consistency, flags_of

_NAMES = ("INBOX", "Archive", "Source", "Target", "Elsewhere")
_ENDED = frozenset({Outcome.DONE, Outcome.GIVEN_UP})
_LATER = timedelta(minutes=11)
_TRANSFERS = {Change.COPY: copy_messages, Change.MOVE: move_messages}


@pytest.fixture
def queued(db: None) -> QueuedAccount:
    """An account whose transactions end with the test."""
    return QueuedAccount()


@dataclass
class Meeting:
    """One message in Source, what a client does to it, and what happens upstream meanwhile."""

    queued: QueuedAccount
    has_bytes: bool
    data: bytes = field(default_factory=message_bytes)

    def __post_init__(self) -> None:
        fence = self.queued.sync_fence
        self.source, self.target, self.elsewhere = make_mailboxes(fence, *_NAMES)[2:]
        add_skeleton(fence, self.source, [row_of(1, self.data)])
        if self.has_bytes:
            add_bodies(fence, self.source, {1: self.data})

    def change(self, change: Change) -> Mutation:
        """Do it here; returns what is queued."""
        queued, user = self.queued, self.queued.account.user_id
        if change is Change.STORE:
            return queued.store(self.source, "\\Seen", uid=1)
        if change is Change.EXPUNGE:
            return queued.expunge(self.source, 1)
        if change is Change.APPEND:
            return queued.append(self.target, self.data)[0]
        if change in _TRANSFERS:
            transfer = _TRANSFERS[change]
            transfer(user_id=user, mailbox_id=self.source.pk, target_id=self.target.pk, uids=EVERYTHING)
        elif change is Change.RENAME:
            rename_mailbox(user_id=user, mailbox_id=self.source.pk, name="Ours")
        return queued.last()

    def happen(self, event: Event) -> None:
        """Let it happen upstream, and be seen by a sync; then replay looks whether messages have gone."""
        _EVENTS[event](self)
        settle_vanished(fence=self.queued.fence, ids=lost_transfers(self.queued.account.pk))

    def change_flags(self) -> None:
        """Flags change."""
        self._see_flags(FlagSet.parse(["\\Flagged"]))

    def remove(self) -> None:
        """The message goes."""
        remove_messages(fence=self.queued.sync_fence, mailbox_id=self.source.pk, uidvalidity=UIDVALIDITY, uids=[1])

    def move(self) -> None:
        """The message is seen in another mailbox before it is missed where it was."""
        add_skeleton(self.queued.sync_fence, self.elsewhere, [row_of(1, self.data)])
        if self.has_bytes:
            add_bodies(self.queued.sync_fence, self.elsewhere, {1: self.data})
        self.remove()

    def renumber(self) -> None:
        """The mailbox gets another UIDVALIDITY, and the message another UID."""
        fence, where = self.queued.sync_fence, self.source.pk
        add_messages(fence=fence, mailbox_id=where, uidvalidity=UIDVALIDITY + 1, rows=[row_of(5, self.data)])
        remove_other_uidvalidities(fence=fence, mailbox_id=where, uidvalidity=UIDVALIDITY + 1)

    def list_without(self, name: str) -> None:
        """Two complete lists do not name a mailbox."""
        for _ in range(2):
            listed = [upstream_mailbox(each) for each in _NAMES if each != name]
            ingest_mailbox_list(fence=self.queued.sync_fence, listed=listed)
            let_time_pass(self.queued.account, _LATER)

    def rename(self) -> None:
        """Source is called Theirs."""
        listed = [upstream_mailbox("Theirs" if name == "Source" else name) for name in _NAMES]
        ingest_mailbox_list(fence=self.queued.sync_fence, listed=listed, renamed={self.source.pk: b"Theirs"})

    def _see_flags(self, flags: FlagSet) -> None:
        apply_upstream_flags(
            fence=self.queued.sync_fence, mailbox_id=self.source.pk, uidvalidity=UIDVALIDITY, flags={1: flags}
        )


_EVENTS: dict[Event, Callable[[Meeting], None]] = {
    Event.FLAGS: Meeting.change_flags,
    Event.GONE: Meeting.remove,
    Event.MOVED: Meeting.move,
    Event.RENUMBERED: Meeting.renumber,
    Event.SOURCE_DELETED: lambda meeting: meeting.list_without("Source"),
    Event.TARGET_DELETED: lambda meeting: meeting.list_without("Target"),
    Event.MAILBOX_DELETED: lambda meeting: meeting.list_without("Source"),
    Event.MAILBOX_RENAMED: Meeting.rename,
}
CARRIED_OUT_HERE = [
    (change, event) for change, event in RULES if event in _EVENTS and change not in (Change.CREATE, Change.DELETE)
]
"""The others are decided when replay comes to them."""


def _outcome(before: Mutation) -> Outcome:
    """Return what became of a queued change."""
    after = Mutation.objects.filter(pk=before.pk).first()
    if after is None:
        return Outcome.GIVEN_UP
    if after.state == MutationState.PARKED:
        return Outcome.PARKED
    if after.kind == MutationKind.APPEND and before.kind != MutationKind.APPEND:
        return Outcome.APPENDED
    if after.target is not None and Mutation.objects.filter(kind=MutationKind.CREATE, mailbox=after.target).exists():
        return Outcome.RECREATED
    return Outcome.GOES_ON if after.remote_id == before.remote_id else Outcome.FOLLOWS


@pytest.mark.parametrize("has_bytes", [True, False], ids=["bytes", "no-bytes"])
@pytest.mark.parametrize(("change", "event"), CARRIED_OUT_HERE, ids=lambda value: value.name)
def test_what_becomes_of_a_change(queued: QueuedAccount, change: Change, event: Event, has_bytes: bool) -> None:
    meeting = Meeting(queued, has_bytes)
    mutation = meeting.change(change)
    meeting.happen(event)
    expected, found = outcome(change, event, has_bytes=has_bytes), _outcome(mutation)
    assert found is expected or {found, expected} <= _ENDED
    if change in (Change.COPY, Change.MOVE):
        is_kept = found not in _ENDED
        assert Message.objects.filter(mailbox=meeting.target).count() == is_kept
    for mailbox in Mailbox.objects.present(queued.account.pk):
        check_consistency(mailbox)


class TestWhatIsSeen:
    def test_a_change_of_flags_is_seen_where_the_message_is_now(self, queued: QueuedAccount) -> None:
        meeting = Meeting(queued, has_bytes=True)
        meeting.change(Change.STORE)
        meeting.happen(Event.MOVED)
        assert flags_of(meeting.elsewhere, 1) == FlagSet.parse(["\\Seen"])

    @pytest.mark.parametrize("change", [Change.EXPUNGE, Change.MOVE], ids=lambda value: value.name)
    def test_what_was_taken_away_here_does_not_come_back_with_other_numbers(
        self, queued: QueuedAccount, change: Change
    ) -> None:
        meeting = Meeting(queued, has_bytes=True)
        mutation = meeting.change(change)
        meeting.happen(Event.RENUMBERED)
        assert queued.uids(meeting.source) == []
        remote = Remote.objects.get(mutations=mutation)
        assert (remote.uidvalidity, remote.uid) == (UIDVALIDITY + 1, 5)

    def test_a_mailbox_that_is_created_again_has_the_name_that_it_got_here(self, queued: QueuedAccount) -> None:
        meeting = Meeting(queued, has_bytes=True)
        meeting.change(Change.APPEND)
        rename_mailbox(user_id=queued.account.user_id, mailbox_id=meeting.target.pk, name="Ours")
        meeting.happen(Event.TARGET_DELETED)
        create = queued.last()
        assert (create.kind, create.arguments["name"]) == ("create", "Ours")
        assert not Mutation.objects.filter(kind="rename").exists()

    def test_a_name_given_on_both_sides_is_ours(self, queued: QueuedAccount) -> None:
        meeting = Meeting(queued, has_bytes=True)
        meeting.change(Change.RENAME)
        meeting.happen(Event.MAILBOX_RENAMED)
        meeting.source.refresh_from_db()
        assert (meeting.source.name, bytes(meeting.source.upstream_name or b"")) == ("Ours", b"Theirs")

    def test_one_given_upstream_is_taken_over(self, queued: QueuedAccount) -> None:
        meeting = Meeting(queued, has_bytes=True)
        meeting.happen(Event.MAILBOX_RENAMED)
        meeting.source.refresh_from_db()
        assert meeting.source.name == "Theirs"


# One flag: agreed, upstream now, what a client did here; and how it ends.
_ON, _OFF = FlagSet.parse(["\\Seen"]), FlagSet()
_FLAG_ROWS = [
    (agreed, upstream, mode, {None: upstream, StoreMode.ADD: _ON, StoreMode.REMOVE: _OFF}[mode])
    for agreed, upstream, mode in product((_ON, _OFF), (_ON, _OFF), (None, StoreMode.ADD, StoreMode.REMOVE))
]


@pytest.mark.parametrize(
    ("agreed", "upstream", "mode", "ends"),
    _FLAG_ROWS,
    ids=[f"{bool(agreed)}-{bool(upstream)}-{mode and mode.name}" for agreed, upstream, mode, _ in _FLAG_ROWS],
)
def test_one_flag(
    queued: QueuedAccount, agreed: FlagSet, upstream: FlagSet, mode: StoreMode | None, ends: FlagSet
) -> None:
    others = FlagSet.parse(["\\Answered"])
    apply_upstream_flags(
        fence=queued.sync_fence, mailbox_id=queued.inbox.pk, uidvalidity=UIDVALIDITY, flags={1: agreed}
    )
    if mode is not None:
        _store(queued, mode)
    apply_upstream_flags(
        fence=queued.sync_fence,
        mailbox_id=queued.inbox.pk,
        uidvalidity=UIDVALIDITY,
        flags={1: upstream.merged(add=others, remove=FlagSet())},
    )
    shown = flags_of(queued.inbox, 1).without(FlagSet.parse(["\\Draft"]))
    assert shown == ends.merged(add=others, remove=FlagSet())


def _store(queued: QueuedAccount, mode: StoreMode) -> None:
    """Change the flag, together with another one: what is as it should be already would be no change."""
    flags = ["\\Seen", "\\Draft"]
    if mode is StoreMode.REMOVE:
        queued.store(queued.inbox, "\\Draft", uid=1)
    queued.store(queued.inbox, *flags, uid=1, mode=mode)


def test_keywords_are_merged_without_regard_to_case() -> None:
    pending = FlagDelta(remove=FlagSet.parse(["$LATER"]))
    assert merged_flags(FlagSet.parse(["$Later", "$Work"]), pending) == FlagSet.parse(["$Work"])


def test_a_name_that_is_taken_here_is_not_taken_over() -> None:
    assert merged_name("Old", "New", renamed_here=False, is_taken=True) == "Old"
