"""Faults that a sync finds in what the upstream says, beside those of the connection; and reasons to stop."""

from __future__ import annotations

from sync.upstream.errors import Severity, UpstreamError


class IncompleteAnswer(UpstreamError):
    """The upstream left out what must be there; nothing may be concluded from it, least of all that mail is gone."""

    severity = Severity.MAILBOX


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
