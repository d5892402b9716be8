"""What the protocol asks its driver to do."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple, TypeAlias, TypeVar


class Deadline(NamedTuple):
    """From now on all that follows has ``seconds`` in total, and ``inactivity`` seconds between bytes."""

    what: str
    seconds: float
    inactivity: float


class Send(NamedTuple):
    """Send bytes."""

    data: bytes


class Receive(NamedTuple):
    """Wait for bytes; they are the answer.

    With ``patient`` silence is no failure: the answer is empty when the deadline has passed, and None when whoever
    waits was asked to stop waiting.
    """

    patient: bool = False


class Pause(NamedTuple):
    """Do nothing for ``seconds``, for the sake of an upstream that throttles."""

    seconds: float


class StartTls(NamedTuple):
    """Turn TLS on. Bytes that have arrived already are a fault: somebody put them there."""

    seconds: float


Request: TypeAlias = Deadline | Send | Receive | Pause | StartTls
T = TypeVar("T")
Steps: TypeAlias = Generator[Request, bytes | None, T]

RECEIVE = Receive()
