"""What can go wrong with an upstream, and how far it reaches."""

from __future__ import annotations

import re
from enum import Enum

_BACKOFF = re.compile(r"suggested backoff time:? (\d{1,9}) milliseconds", re.IGNORECASE)

LIMIT_CODES = frozenset({"LIMIT", "THROTTLED"})
"""Response codes of an upstream that wants to be left alone."""

# Those of RFC 5530 and common extensions that name a passing condition, whatever the command was.
_PASSING_CODES = frozenset({"UNAVAILABLE", "INUSE", "SERVERBUG", "CONTACTADMIN"}) | LIMIT_CODES
_ACCOUNT_CODES = frozenset(
    {"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "PRIVACYREQUIRED", "WEBALERT", "NOTALLOWED"}
)
_PASSING_TEXT = re.compile(
    r"too many|simultaneous|try again|temporar|throttl|rate limit|unavailable|not available|later|busy|in use"
    r"|internal|timed? ?out|not connected|overload|maximum number of connections|connection limit",
    re.IGNORECASE,
)


class Severity(Enum):
    """What a failure concerns, and so what may go on and what has to wait."""

    TRANSIENT = "transient"
    """This connection only: reconnect later."""
    ACCOUNT = "account"
    """The account: no retry helps until somebody changes its settings."""
    MAILBOX = "mailbox"
    """One mailbox: the others can be worked on."""
    MESSAGE = "message"
    """Some of the messages that were asked for."""


class UpstreamError(Exception):
    """A failure of the upstream or of the way to it. The text holds no credentials."""

    severity = Severity.TRANSIENT
    is_away = False
    """Nobody was there: no connection could be had, or nothing greeted on it."""
    before_login = False
    """It happened before the connection could be used: no command that was to follow is to blame."""


class ConnectFailed(UpstreamError):
    """No connection: name resolution, refusal, no route."""


class TlsFailed(UpstreamError):
    """No TLS, or not with the server that was meant. ``severity`` is ACCOUNT when its certificate is not trusted."""

    def __init__(self, text: str, *, severity: Severity = Severity.TRANSIENT) -> None:
        super().__init__(text)
        self.severity = severity


class AuthFailed(UpstreamError):
    """The upstream refused the credentials. Trying again can lock the account."""

    severity = Severity.ACCOUNT


class TemporarilyRefused(UpstreamError):
    """The upstream does not want this connection now: too many of them, throttling, an outage behind it."""


class TimedOut(UpstreamError):
    """Nothing came for too long, or the whole took too long."""


class ConnectionLost(UpstreamError):
    """The connection ended in the middle."""


class ServerBye(UpstreamError):
    """The upstream said BYE."""


class ProtocolViolation(UpstreamError):
    """The upstream sent what cannot be made sense of; the place in the stream is lost."""


class ConnectionPoisoned(UpstreamError):
    """The connection failed before, or was closed; ``__cause__`` is the first fault."""


class NotOffered(UpstreamError):
    """The upstream lacks the extension that was asked for."""


class CommandRefused(UpstreamError):
    """A tagged NO or BAD. The connection is still good."""

    def __init__(self, command: str, code: str, text: str, *, severity: Severity = Severity.TRANSIENT) -> None:
        super().__init__(f"{command}: {f'[{code}] ' if code else ''}{text}")
        self.command = command
        self.code = code
        self.text = text
        self.severity = refined_severity(code, text, severity)

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait, where the upstream said so (Exchange does)."""
        return suggested_pause(self.text)


class CommandNo(CommandRefused):
    """The command failed."""


class CommandBad(CommandRefused):
    """The upstream did not understand or did not allow the command."""


def suggested_pause(text: str) -> float | None:
    """Return the seconds for which an upstream asks to be left alone (quirk 12), whatever it says so with."""
    found = _BACKOFF.search(text)
    return int(found[1]) / 1000 if found else None


def refined_severity(code: str, text: str, severity: Severity) -> Severity:
    """Return what a response code says about the reach of a failure, else ``severity``.

    A server that fails at one message says so with the same codes as one that fails at all (quirk 26): whether the
    others are to be had is for them to tell.
    """
    if code in LIMIT_CODES or _BACKOFF.search(text):
        return Severity.TRANSIENT
    if code in _PASSING_CODES:
        return severity if severity is Severity.MESSAGE else Severity.TRANSIENT
    return Severity.ACCOUNT if code in _ACCOUNT_CODES else severity


def is_passing(code: str, text: str) -> bool:
    """True when a refused login says nothing about the credentials."""
    return code in _PASSING_CODES or (code not in _ACCOUNT_CODES and _PASSING_TEXT.search(text) is not None)
