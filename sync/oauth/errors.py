"""What can go wrong on the way to an access token."""

from __future__ import annotations

from sync.upstream.errors import AuthFailed, TimedOut, UpstreamError


class SignInNeeded(AuthFailed):
    """There is no grant, or the provider took it back: only a person can help, by signing in again."""


class TokenServerFailed(UpstreamError):
    """The authorization server cannot be reached or does not work; tried again like any outage."""

    before_login = True


class TokenServerTimedOut(TokenServerFailed, TimedOut):
    """The authorization server keeps us waiting, which a worker of the fast lane has no time for."""


class SignInPending(UpstreamError):
    """The person has not entered the device code yet. ``slow_down`` asks for longer pauses (RFC 8628 3.5)."""

    def __init__(self, *, slow_down: bool) -> None:
        super().__init__("the code has not been entered yet")
        self.slow_down = slow_down
