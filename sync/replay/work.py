"""What the steps of one replay share: account, fence, connection, and what becomes of changes that fail."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import NamedTuple

from django.utils import timezone

from mailcache.models import Account, Mailbox, Mutation, MutationKind, MutationState, ParkedCause
from mailcache.services.leases import Fence
from mailcache.services.recovered import recover_append
from mailcache.services.rows import CHUNK_ROWS
from mailcache.services.settlement import park, retry_later
from sync.backoff import mutation_delay
from sync.connection import UpstreamSession
from sync.errors import SliceOver
from sync.replay.plan import Queued
from sync.services.checkpoints import want_mailbox
from sync.upstream.errors import CommandRefused, Severity, UpstreamError
from sync.upstream.values import SelectedMailbox

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 8
# The upstream's quota or limits are no fault of a change, and may be lifted any day (RFC 5530, RFC 9208).
_PASSING = frozenset({"OVERQUOTA", "LIMIT", "THROTTLED", "UNAVAILABLE", "INUSE", "SERVERBUG"})
_FOR_GOOD = frozenset({"CANNOT", "NOPERM", "TOOBIG"})
# Of changes that failed together ever fewer are tried together, until the one at fault is alone.
_TOGETHER = (10_000, 10_000, 100, 10)


class Numbering(NamedTuple):
    """What the next message of a mailbox will be called."""

    uidvalidity: int
    uidnext: int


@dataclass(slots=True)
class ReplayWork:
    """One slice of the replay of one account."""

    account: Account
    fence: Fence
    upstream: UpstreamSession
    rng: Random
    deadline: float
    must_stop: Callable[[], bool]
    clock: Callable[[], float] = time.monotonic
    wanted: set[int] = field(default_factory=set)
    """Mailboxes that a sync has to look at before replay can go on there."""
    prefix: str | None = None
    """The prefix of the personal namespace, once it was asked for."""
    _failed: bool = False
    _paced_at: float = 0.0

    def pause_point(self) -> None:
        """Raise ``SliceOver`` when it is time to stop; called where everything is committed."""
        if self.must_stop() or self.clock() >= self.deadline:
            raise SliceOver

    def pace(self) -> None:
        """Wait before a command that changes something, where the upstream takes only so many in a second."""
        most = self.upstream.profile.writes_per_second
        if most is not None:
            time.sleep(max(0.0, self._paced_at + 1 / most - self.clock()))
            self._paced_at = self.clock()

    def take_failed(self) -> bool:
        """Tell whether something failed since the last call."""
        failed, self._failed = self._failed, False
        return failed

    def mailbox(self, mailbox_id: int | None) -> Mailbox:
        """Return a mailbox with its upstream name as it is now."""
        return Mailbox.objects.get(account_id=self.account.pk, pk=mailbox_id or 0)

    def open(self, mailbox: Mailbox) -> SelectedMailbox:
        """Open a mailbox to read and write, unless it is."""
        name = bytes(mailbox.upstream_name or b"")
        selected = self.upstream.client.selected if self.upstream.is_open(name) else None
        return selected or self.upstream.select(name)

    def numbering(self, mailbox: Mailbox) -> Numbering:
        """Return what the next message of a mailbox will be called, as of now."""
        name = bytes(mailbox.upstream_name or b"")
        if not self.upstream.is_open(name):
            status = self.upstream.client.status(name)
            if status.uidvalidity and status.uidnext:
                return Numbering(status.uidvalidity, status.uidnext)
        selected = self.upstream.select(name)
        uidnext = selected.uidnext
        if uidnext is None:
            uidnext = max(self.upstream.client.uid_search(b"UID *"), default=0) + 1
        return Numbering(uidvalidity_of(selected, mailbox), uidnext)

    def wait_for_sync(self, members: Collection[Queued], mailbox: Mailbox, reason: str) -> None:
        """Leave changes alone until a sync has compared their mailbox."""
        want_mailbox(account_id=self.account.pk, mailbox_id=mailbox.pk)
        self.wanted.add(mailbox.pk)
        self._later(members, reason, counts=False, outcome_known=False, least=5.0)

    def refused(
        self, members: Sequence[Queued], error: CommandRefused, *, outcome_known: bool = True, recovers: bool = True
    ) -> None:
        """Have refused changes tried again, or set them aside where that is of no use. Raises what concerns all."""
        if error.severity == Severity.ACCOUNT:
            raise error
        logger.info("account %s: %d changes refused: %s", self.account.pk, len(members), error)
        if error.code in _FOR_GOOD and outcome_known:
            self.give_up(members, str(error))
            return
        passing = error.code in _PASSING or error.retry_after is not None
        least = max(error.retry_after or 0.0, 60.0 if passing else 0.0)
        over_quota = error.code == "OVERQUOTA"
        self.fail(
            members,
            str(error),
            outcome_known=outcome_known,
            least=least,
            parks=not passing,
            recovers=recovers,
            over_quota=over_quota,
        )

    def not_asked(self, members: Sequence[Queued], error: CommandRefused) -> None:
        """Have changes tried again of which a command beside theirs was refused; those sent already are looked up."""
        sent = self._sent(members)
        self.refused([member for member in members if member.id not in sent], error)
        among = [member for member in members if member.id in sent]
        self.refused(among, error, outcome_known=False, recovers=False)

    def lost(self, members: Sequence[Queued], error: UpstreamError) -> None:
        """Have changes tried again whose command ended with the connection; those just sent are looked up first."""
        reason = str(error) or type(error).__name__
        sent = self._sent([member for member in members if not member.sent])
        self._later([member for member in members if member.id in sent], reason, counts=False, outcome_known=False)
        self.fail([member for member in members if member.id not in sent], reason, recovers=False)

    def _sent(self, members: Sequence[Queued]) -> set[int]:
        rows = Mutation.objects.filter(pk__in=[member.id for member in members], state=MutationState.SENT)
        return set(rows.values_list("pk", flat=True))

    def fail(
        self,
        members: Sequence[Queued],
        reason: str,
        *,
        outcome_known: bool = False,
        least: float = 0.0,
        parks: bool = True,
        recovers: bool = True,
        over_quota: bool = False,
    ) -> None:
        """Count an attempt; after ``MOST_ATTEMPTS`` of them the changes are set aside, where ``parks``.

        Without ``recovers`` appended messages stay where they are: the upstream may have them.
        """
        exhausted = [member for member in members if parks and member.attempts + 1 >= MOST_ATTEMPTS]
        if recovers:
            self.give_up(exhausted, reason, ParkedCause.EXHAUSTED)
        else:
            self.park(exhausted, reason, ParkedCause.EXHAUSTED)
        counted = [member for member in members if member not in exhausted] if exhausted else members
        self._later(counted, reason, counts=True, outcome_known=outcome_known, least=least, over_quota=over_quota)

    def unsend(self, members: Sequence[Queued]) -> None:
        """Take back that changes were sent: they were not, because of others."""
        self._later(members, "", counts=False, outcome_known=True)

    def give_up(self, members: Sequence[Queued], reason: str, cause: ParkedCause = ParkedCause.REFUSED) -> None:
        """Set changes aside for an operator; an appended message goes where people can see it."""
        if not members:
            return
        self._failed = True
        logger.warning("account %s: %d changes set aside: %s", self.account.pk, len(members), reason)
        appends = [member for member in members if member.kind.value == MutationKind.APPEND]
        for member in appends:
            recover_append(fence=self.fence, mutation_id=member.id, reason=reason, cause=cause)
        others = [member.id for member in members if member not in appends]
        park(fence=self.fence, ids=others, reason=reason, cause=cause)

    def park(self, members: Sequence[Queued], reason: str, cause: ParkedCause = ParkedCause.REFUSED) -> None:
        """Set changes aside whose outcome is not known: their messages stay where they are."""
        if members:
            self._failed = True
            logger.warning("account %s: %d changes parked: %s", self.account.pk, len(members), reason)
            park(fence=self.fence, ids=[member.id for member in members], reason=reason, cause=cause)

    def rows(self, members: Sequence[Queued]) -> dict[int, Mutation]:
        """Return the mutations of members, with their upstream messages and contents."""
        rows = Mutation.objects.filter(account_id=self.account.pk, pk__in=[member.id for member in members])
        return {row.pk: row for row in rows.select_related("remote", "content__segment").order_by("pk")}

    def _later(
        self,
        members: Collection[Queued],
        reason: str,
        *,
        counts: bool,
        outcome_known: bool,
        least: float = 0.0,
        over_quota: bool = False,
    ) -> None:
        self._failed = self._failed or bool(members)
        now = timezone.now()
        for attempts in {member.attempts for member in members}:
            delay = max(mutation_delay(attempts + 1, self.rng).total_seconds(), least)
            retry_later(
                fence=self.fence,
                ids=[member.id for member in members if member.attempts == attempts],
                error=reason,
                next_try_at=now + timedelta(seconds=delay),
                counts=counts,
                outcome_known=outcome_known,
                over_quota=over_quota,
            )


def uidvalidity_of(selected: SelectedMailbox, mailbox: Mailbox) -> int:
    """Return what numbers the messages of an open mailbox: where the upstream tells none, as syncs do (quirk 41)."""
    return selected.uidvalidity or mailbox.upstream_uidvalidity or 0


def batches(members: Sequence[Queued], most: int) -> Iterator[list[Queued]]:
    """Yield members in order, at most ``most`` at a time, and fewer of those that failed before."""
    batch: list[Queued] = []
    for member in members:
        limit = min(most, together(member.attempts), *(together(other.attempts) for other in batch[-1:]))
        if len(batch) >= limit:
            yield batch
            batch = []
        batch.append(member)
    if batch:
        yield batch


def together(attempts: int) -> int:
    """Return how many changes that failed so often may be sent together."""
    return _TOGETHER[attempts] if attempts < len(_TOGETHER) else 1


def in_transactions(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield ids by as many as one transaction takes."""
    for start in range(0, len(ids), CHUNK_ROWS):
        yield ids[start : start + CHUNK_ROWS]
