"""What all watched accounts of one process share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from sync.database_calls import DatabaseCalls
from sync.watch_connections import WatchConnections
from sync.watch_requests import SyncRequests


@dataclass(slots=True)
class WatchContext:
    """The services of a watcher."""

    database: DatabaseCalls
    slow: DatabaseCalls
    """For calls that may take long: bodies being stored."""
    connections: WatchConnections
    requests: SyncRequests
    rng: Random
    cannot_watch: Callable[[int], None]
    """Called with an account that cannot be watched now: its lease is given back, and not taken again for a while."""
    clock: Callable[[], float] = time.monotonic
    listening: set[tuple[int, bytes]] = field(default_factory=set)
    """Account and mailbox of each connection that listens now."""
