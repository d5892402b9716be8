"""APPEND upstream: many messages in one command where that can be had, each where it was meant and once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby

from django.utils import timezone

from mailcache.flags import FlagSet
from mailcache.models import Content, Mailbox, MailboxRole, Mutation
from mailcache.segments import read_chunks
from mailcache.services.settle_creators import settle_creators
from mailcache.services.settlement import note_accepted, note_sent, retry_later
from sync.replay.labels import settle_given
from sync.replay.lookup import find_message_id, resolve
from sync.replay.mailboxes import is_missing, make_again, target_numbering
from sync.replay.plan import Queued, Step
from sync.replay.present import known_of
from sync.replay.store import kept_from_append
from sync.replay.work import Numbering, ReplayWork, batches
from sync.upstream.errors import CommandRefused, Severity
from sync.upstream.values import NO_APPENDED, AppendedUids, NewMessage

_MOST = 100
_MOST_BYTES = 8 * 1024 * 1024
# A provider that files what is sent does so within that time (quirk 15); after it the client's copy goes there.
_FILED_WITHIN = timedelta(minutes=15)
_LOOK_AGAIN = timedelta(seconds=20)
# Labels that no client gives or takes by STORE.
_ONLY_THEMSELVES = ("\\Draft", "\\Sent")
_PASSING = frozenset({"OVERQUOTA", "LIMIT", "THROTTLED", "UNAVAILABLE", "INUSE"})


def replay_append(work: ReplayWork, step: Step) -> None:
    """Append messages to a mailbox, in order."""
    target = work.mailbox(step.target_id)
    for batch in batches(step.members, _MOST):
        rows = work.rows(batch)
        there = [member for member in batch if member.id in rows]
        for via_id, group in groupby(there, key=lambda member: rows[member.id].arguments.get("via")):
            work.pause_point()
            _append(work, target, _given_to(work, via_id), list(group), rows)


def _given_to(work: ReplayWork, via_id: int | None) -> Mailbox | None:
    """Return the label mailbox that messages were given to, which may be gone."""
    return Mailbox.objects.filter(account_id=work.account.pk, pk=via_id).exclude(label="").first() if via_id else None


def _append(
    work: ReplayWork, target: Mailbox, via: Mailbox | None, members: Sequence[Queued], rows: Mapping[int, Mutation]
) -> None:
    if MailboxRole.SENT in (target.role, via and via.role) and work.upstream.profile.files_sent_mail:
        members = _without_filed(work, target, members, rows)
    # Whoever could say that a message is a draft, or was sent, is told by appending it where these are.
    is_through = via is not None and via.label in _ONLY_THEMSELVES and via.upstream_name is not None
    for some in _by_bytes(members, rows):
        work.pause_point()
        _Batch(work, target, some, rows, via if is_through else None).run()


class _Batch:
    """Some messages that are noted as sent together."""

    def __init__(
        self,
        work: ReplayWork,
        target: Mailbox,
        members: Sequence[Queued],
        rows: Mapping[int, Mutation],
        via: Mailbox | None,
    ) -> None:
        self._work = work
        self._target = target
        self._via = via
        """The label mailbox that they are appended to; they are found in the target then."""
        self._members = members
        self._rows = rows
        self._kept = FlagSet()
        self._accepted: list[Queued] = []
        """Those that the upstream took without telling where they are."""

    def run(self) -> None:
        """Send them, and settle what the upstream took."""
        work, members = self._work, self._members
        if not members:
            return
        numbering = self._numbering()
        ids = [member.id for member in members]
        note_sent(fence=work.fence, ids=ids, noted=numbering._asdict())
        self._send_all()
        if work.upstream.is_open(bytes(self._target.upstream_name or b"")):
            work.upstream.refresh()
        if self._accepted:
            resolve(work, self._target, self._accepted)
            if self._via is not None:
                settle_given(work, self._via, [member.id for member in self._accepted])

    def _send_all(self) -> None:
        work, members = self._work, self._members
        if len(members) > 1 and work.upstream.client.may("MULTIAPPEND"):
            try:
                self._send(members)
                return
            except CommandRefused as error:
                # All or none (RFC 3502): none. Which of them is at fault shows when they go one by one.
                if error.code in _PASSING or error.severity == Severity.ACCOUNT or self._make_again(error):
                    work.refused(members, error)
                    return
        self._one_by_one()

    def _one_by_one(self) -> None:
        for position, member in enumerate(self._members):
            try:
                self._send([member])
            except CommandRefused as error:
                self._make_again(error)
                work = self._work
                work.refused([member], error)
                if error.code in _PASSING:
                    work.unsend(self._members[position + 1 :])
                    return

    def _send(self, members: Sequence[Queued]) -> None:
        work = self._work
        messages = [_message(self._rows[member.id], self._kept) for member in members]
        work.pace()
        appended = work.upstream.client.append(bytes((self._via or self._target).upstream_name or b""), messages)
        # Those of a label mailbox are not the UIDs by which messages are known here.
        self._settle(members, appended if self._via is None else NO_APPENDED)

    def _settle(self, members: Sequence[Queued], appended: AppendedUids) -> None:
        work = self._work
        if not appended.uids:
            note_accepted(fence=work.fence, ids=[member.id for member in members])
            self._accepted += members
            return
        settle_creators(
            fence=work.fence,
            target_id=self._target.pk,
            uidvalidity=appended.uidvalidity,
            uids=dict(zip((member.id for member in members), appended.uids, strict=True)),
            kept_local=self._kept,
            restates_flags=work.upstream.profile.drops_appended_flags,
        )

    def _numbering(self) -> Numbering:
        """Return what the target is like; where keywords are appended, also which of them it stores."""
        work = self._work
        numbering = target_numbering(work, self._target)
        flags = [member.delta.add for member in self._members]
        if any(some.keywords for some in flags):
            self._kept = kept_from_append(work.open(self._target), flags)
        return numbering

    def _make_again(self, error: CommandRefused) -> bool:
        return is_missing(error) and make_again(self._work, self._target)


def _message(row: Mutation, kept: FlagSet) -> NewMessage:
    content = row.content
    if content is None:
        raise ValueError(f"{row} appends nothing")
    date = row.arguments.get("internal_date")
    flags = FlagSet.of(row.add_flags, row.add_keywords).without(kept)
    return NewMessage(
        flags=flags.names(),
        internal_date=datetime.fromisoformat(date) if date else row.created_at.astimezone(UTC),
        size=content.size,
        chunks=partial(_chunks, content),
    )


def _chunks(content: Content) -> Iterable[bytes]:
    if content.inline is not None:
        yield bytes(content.inline)
    elif content.segment is not None:
        yield from read_chunks(content.segment.name, content.offset, content.size)


def _by_bytes(members: Sequence[Queued], rows: Mapping[int, Mutation]) -> Iterator[list[Queued]]:
    batch: list[Queued] = []
    total = 0
    for member in members:
        row = rows.get(member.id)
        size = row.content.size if row is not None and row.content is not None else 0
        if batch and total + size > _MOST_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(member)
        total += size
    if batch:
        yield batch


def _without_filed(
    work: ReplayWork, target: Mailbox, members: Sequence[Queued], rows: Mapping[int, Mutation]
) -> list[Queued]:
    """Return what has to be appended of mail that the upstream files by itself when it is sent (quirks 9 and 15)."""
    now = timezone.now()
    known = known_of(work, dict(rows))
    rest: list[Queued] = []
    for member in members:
        if not known[member.id].message_id or rows[member.id].created_at < now - _FILED_WITHIN:
            rest.append(member)
            continue
        uidvalidity, uidnext = target_numbering(work, target)
        work.open(target)
        uid = find_message_id(work, known[member.id])
        if uid is None:
            retry_later(
                fence=work.fence,
                ids=[member.id],
                error="the upstream files sent mail by itself: waiting for it",
                next_try_at=now + _LOOK_AGAIN,
                counts=False,
                outcome_known=True,
            )
            continue
        note_sent(fence=work.fence, ids=[member.id], noted={"uidvalidity": uidvalidity, "uidnext": uidnext})
        settle_creators(fence=work.fence, target_id=target.pk, uidvalidity=uidvalidity, uids={member.id: uid})
    return rest
