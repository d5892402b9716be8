"""What can go wrong with embedded servers."""

from __future__ import annotations


class EmbeddedError(Exception):
    """The embedded servers cannot run; the message says why and what to do."""


class AlreadyRunning(EmbeddedError):
    """Another launcher runs the servers of this data directory."""
