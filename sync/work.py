"""What the passes of one slice share: account, fence, connection, counters, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from mailcache.models import Account
from mailcache.services.leases import Fence
from sync.connection import UpstreamSession
from sync.errors import SliceOver
from sync.lanes import Lane
from sync.models import SyncRun
from sync.planner import FIRST_BATCH_BYTES
from sync.profiles import GENERIC, Profile
from sync.services.runs import Counters
from sync.upstream.values import MailboxStatus

# After this many failed runs in a row the failure is pinned on what was being worked on: one mailbox or message may be
# what the upstream chokes on, and must not keep the others from being synced.
SUSPECT_AFTER = 2
# Until measured: slow enough that headers come first in a large mailbox.
_ASSUMED_BYTES_PER_SECOND = 1024 * 1024.0


@dataclass(slots=True)
class Pace:
    """How fast bodies come, learnt during the slice."""

    bytes_per_second: float = _ASSUMED_BYTES_PER_SECOND
    batch_limit: int = FIRST_BATCH_BYTES
    measured: bool = False
    rough: bool = True
    """The last batch came at once: that tells how long a command takes rather than how fast bytes come."""


def _nothing() -> None:
    return None


@dataclass(slots=True)
class SliceWork:
    """One slice of one account's run, as one of its threads sees it. ``deadline`` is on ``clock``'s scale."""

    account: Account
    fence: Fence
    run: SyncRun
    upstream: UpstreamSession
    counters: Counters
    deadline: float
    must_stop: Callable[[], bool]
    rng: Random
    profile: Profile = GENERIC
    lane: Lane = Lane.SLOW
    cut_at: float = float("inf")
    """When a command that still brings messages is cut between two of them."""
    clock: Callable[[], float] = time.monotonic
    pace: Pace = field(default_factory=Pace)
    skipped: set[int] = field(default_factory=set)
    """Remotes that this slice has tried and set aside."""
    on_step: Callable[[], None] = _nothing
    """Called at each pause point: something was committed."""
    renumbered: dict[int, int] = field(default_factory=dict)
    """The UIDVALIDITY of mailboxes that were compared in this slice and know messages under another one."""
    statuses: dict[int, MailboxStatus] = field(default_factory=dict)
    """What the run's LIST told of mailboxes, by their ids, until they are compared."""

    def pause_point(self) -> None:
        """Raise ``SliceOver`` when it is time to stop; called after each step forward, when it is committed."""
        self.on_step()
        if self.must_stop() or self.clock() >= self.deadline:
            raise SliceOver

    def beside(self, upstream: UpstreamSession) -> SliceWork:
        """Return the work of another thread of this slice, which has a connection and counters of its own."""
        return replace(
            self,
            upstream=upstream,
            counters=Counters(),
            rng=Random(self.rng.random()),  # noqa: S311 - jitter, not a secret
            on_step=_nothing,
        )
