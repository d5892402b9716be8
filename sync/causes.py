"""What made a run fail, in few enough words to count them by."""

from __future__ import annotations

from mailcache.errors import SealBroken
from sync.errors import IncompleteAnswer, NoInbox
from sync.models import FailureCause
from sync.oauth.errors import TokenServerFailed
from sync.upstream.errors import (
    AuthFailed,
    CommandRefused,
    ConnectFailed,
    ConnectionLost,
    NotOffered,
    ProtocolViolation,
    ServerBye,
    TemporarilyRefused,
    TimedOut,
    TlsFailed,
    UpstreamError,
    is_passing,
)

# The first that fits counts.
_CAUSES: tuple[tuple[type[Exception], FailureCause], ...] = (
    (AuthFailed, FailureCause.AUTH),
    (TimedOut, FailureCause.TIMEOUT),
    (TlsFailed, FailureCause.TLS),
    (TemporarilyRefused, FailureCause.REFUSED),
    (ConnectFailed, FailureCause.NETWORK),
    (ConnectionLost, FailureCause.NETWORK),
    (ServerBye, FailureCause.NETWORK),
    (TokenServerFailed, FailureCause.NETWORK),
    (ProtocolViolation, FailureCause.PROTOCOL),
    (CommandRefused, FailureCause.COMMAND),
    (NotOffered, FailureCause.COMMAND),
    (IncompleteAnswer, FailureCause.INCOMPLETE),
    (NoInbox, FailureCause.INCOMPLETE),
    (UpstreamError, FailureCause.PROTOCOL),
    (SealBroken, FailureCause.SECRET),
)


def cause_of(error: Exception) -> FailureCause:
    """Return the cause of a failed run; what is no fault of the upstream or of the way to it is one of ours."""
    if isinstance(error, CommandRefused) and is_passing(error.code, error.text):
        return FailureCause.REFUSED
    return next((cause for kind, cause in _CAUSES if isinstance(error, kind)), FailureCause.INTERNAL)
