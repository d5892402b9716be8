"""The cause of a failed run."""

from __future__ import annotations

import pytest

from mailcache.errors import SealBroken
from sync.causes import cause_of
from sync.errors import IncompleteAnswer, NoInbox
from sync.models import FailureCause
from sync.oauth.errors import SignInNeeded, TokenServerFailed
from sync.upstream.errors import (
    AuthFailed,
    CommandBad,
    CommandNo,
    ConnectFailed,
    ConnectionLost,
    ProtocolViolation,
    ServerBye,
    TemporarilyRefused,
    TimedOut,
    TlsFailed,
)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ConnectFailed("no route"), FailureCause.NETWORK),
        (ConnectionLost("reset"), FailureCause.NETWORK),
        (ServerBye("shutting down"), FailureCause.NETWORK),
        (TimedOut("nothing came"), FailureCause.TIMEOUT),
        (TlsFailed("certificate"), FailureCause.TLS),
        (TemporarilyRefused("too many"), FailureCause.REFUSED),
        (CommandNo("SELECT", "LIMIT", "too many"), FailureCause.REFUSED),
        (CommandNo("SELECT", "", "no such mailbox"), FailureCause.COMMAND),
        (CommandBad("UID FETCH", "", "syntax"), FailureCause.COMMAND),
        (AuthFailed("no"), FailureCause.AUTH),
        (SignInNeeded("sign in again"), FailureCause.AUTH),
        (TokenServerFailed("away"), FailureCause.NETWORK),
        (ProtocolViolation("garbage"), FailureCause.PROTOCOL),
        (IncompleteAnswer("too few"), FailureCause.INCOMPLETE),
        (NoInbox("none"), FailureCause.INCOMPLETE),
        (SealBroken("another key"), FailureCause.SECRET),
        (ValueError("ours"), FailureCause.INTERNAL),
    ],
)
def test_cause(error: Exception, cause: FailureCause) -> None:
    assert cause_of(error) is cause
