"""AUTHENTICATE: PLAIN (RFC 4616), OAUTHBEARER (RFC 7628) and its forerunner XOAUTH2."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import NamedTuple

from sync.upstream.endpoint import Credentials, Endpoint
from sync.upstream.errors import CommandRefused
from sync.upstream.protocol.requests import Steps
from sync.upstream.protocol.session import Handlers, Session

_CANCEL = b"*\r\n"
_STATUS = re.compile(r"[A-Za-z0-9_.-]{1,40}")


class Mechanism(NamedTuple):
    """A mechanism of one message, and how the failure that the upstream explains in a challenge is acknowledged."""

    name: bytes
    message: bytes
    acknowledgement: bytes | None = None

    @property
    def initial(self) -> bytes:
        """The message as it is sent."""
        return base64.b64encode(self.message)


def mechanism_of(credentials: Credentials, endpoint: Endpoint) -> Mechanism:
    """Return how credentials (of another method than LOGIN) are presented."""
    username, secret = credentials.username, credentials.secret
    if credentials.method == "xoauth2":
        message = f"user={username}\1auth=Bearer {secret}\1\1"
        return Mechanism(b"XOAUTH2", message.encode(), acknowledgement=b"")
    if credentials.method == "oauthbearer":
        name = username.replace("=", "=3D").replace(",", "=2C")
        message = f"n,a={name},\1host={endpoint.host}\1port={endpoint.port}\1auth=Bearer {secret}\1\1"
        return Mechanism(b"OAUTHBEARER", message.encode(), acknowledgement=b"\1")
    return Mechanism(b"PLAIN", f"\0{username}\0{secret}".encode())


def authenticate(session: Session, mechanism: Mechanism) -> Steps[None]:
    """Log in; raises ``CommandRefused``."""
    at_once = session.offers("SASL-IR")
    answers = _Answers(mechanism)
    try:
        yield from session.command(
            "AUTHENTICATE",
            mechanism.name + b" " + mechanism.initial if at_once else mechanism.name,
            Handlers(continuation=answers.answer),
            patience=session.deadlines.login,
        )
    except CommandRefused as error:
        if answers.reason:
            text = f"{error.text} (status {answers.reason})"
            raise type(error)(error.command, error.code, text, severity=error.severity) from None
        raise


class _Answers:
    """What is answered to each challenge."""

    def __init__(self, mechanism: Mechanism) -> None:
        self._mechanism = mechanism
        self._presented = False
        self._acknowledged = False
        self.reason = ""

    def answer(self, challenge: bytes) -> bytes:
        """Present the message, also where an initial one was overlooked; acknowledge a failure; cancel the rest."""
        explains = bool(challenge.strip(b" ="))
        if not self._presented and not (explains and self._mechanism.acknowledgement is not None):
            self._presented = True
            return self._mechanism.initial + b"\r\n"
        if self._mechanism.acknowledgement is None or self._acknowledged:
            return _CANCEL
        self._acknowledged = True
        self.reason = _failure_status(challenge)
        return base64.b64encode(self._mechanism.acknowledgement) + b"\r\n"


def _failure_status(challenge: bytes) -> str:
    """Return the status that the upstream gives in its error message (RFC 7628 3.2.2); the rest may hold anything."""
    try:
        told = json.loads(base64.b64decode(challenge))
    except (binascii.Error, ValueError, RecursionError):
        return ""
    status = str(told.get("status", "")) if isinstance(told, dict) else ""
    return status if _STATUS.fullmatch(status) else ""
