"""The tables of ``sync``: positions, runs, connections and what they cost."""

from __future__ import annotations

from sync.models.checkpoints import Checkpoint
from sync.models.connections import ConnectionSlot, Purpose, UpstreamHost
from sync.models.runs import STALE_AFTER, FailureCause, SyncKind, SyncOutcome, SyncRun
from sync.models.usage import UpstreamUsage
from sync.models.watchers import WatcherProcess

__all__ = [
    "STALE_AFTER",
    "Checkpoint",
    "ConnectionSlot",
    "FailureCause",
    "Purpose",
    "SyncKind",
    "SyncOutcome",
    "SyncRun",
    "UpstreamHost",
    "UpstreamUsage",
    "WatcherProcess",
]
