"""Faults that a sync finds in what the upstream says, beside those of the connection; and reasons to stop."""

from __future__ import annotations

from collections.abc import Sequence

from sync.planner import Waiting
from sync.upstream.errors import Severity, UpstreamError


class IncompleteAnswer(UpstreamError):
    """The upstream left out what must be there; nothing may be concluded from it, least of all that mail is gone."""

    severity = Severity.MAILBOX


class NothingDelivered(IncompleteAnswer):
    """Of several messages of a mailbox whose bytes were asked for, each for itself or in groups, none came."""

    def __init__(self, messages: Sequence[Waiting], reason: str) -> None:
        super().__init__(f"the upstream delivers none of {len(messages)} messages of this mailbox: {reason}")
        self.messages = messages


class RenumberedTooOften(UpstreamError):
    """The upstream gives the mailbox another UIDVALIDITY again and again: what is here stays until it has settled."""

    severity = Severity.MAILBOX


class NoInbox(UpstreamError):
    """The upstream lists no INBOX, so its list cannot be complete."""

    severity = Severity.TRANSIENT


class SliceOver(Exception):
    """The slice's time is up, or the account may no longer be worked on: stop at this commit point."""


class NoConnectionFree(Exception):
    """All connections that the account or its host may have are in use: try again soon. No fault of anybody."""
