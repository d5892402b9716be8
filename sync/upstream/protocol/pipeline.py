"""Two commands in one round trip: the second is sent without waiting for the answer to the first (RFC 3501 5.5)."""

from __future__ import annotations

from typing import TypeVar

from sync.upstream.errors import CommandRefused
from sync.upstream.protocol.requests import Receive, Request, Send, Steps

A = TypeVar("A")
B = TypeVar("B")

_AWAITS_CONTINUATION = b"}\r\n"


def together(first: Steps[A], second: Steps[B]) -> Steps[tuple[A, B]]:
    """Run two commands that are sent at once; what they mean must not depend on each other's answers.

    When the first is refused, the answer to the second is read all the same and dropped.
    """
    head = yield from _until_sent(first)
    if head.data.endswith(_AWAITS_CONTINUATION):
        return (yield from _resumed(first, (yield head))), (yield from second)
    tail = yield from _until_sent(second)
    reply = yield Send(head.data + tail.data)
    try:
        result = yield from _resumed(first, reply)
    except CommandRefused as refusal:
        try:
            yield from _resumed(second, reply)
        except CommandRefused:
            raise refusal from None
        raise
    return result, (yield from _resumed(second, reply))


def second_of(both: Steps[tuple[A, B]]) -> Steps[B]:
    """Return the second command's result alone."""
    return (yield from both)[1]


def _until_sent(steps: Steps[A]) -> Steps[Send]:
    """Run a command up to what it sends first."""
    request = next(steps)
    while not isinstance(request, Send):
        if isinstance(request, Receive):
            raise ValueError("a command that waits before it sends cannot be sent with another")
        request = steps.send((yield request))
    return request


def _resumed(steps: Steps[A], reply: bytes | None) -> Steps[A]:
    """Run a command that was interrupted at a request to its end."""
    try:
        request: Request = steps.send(reply)
        while True:
            request = steps.send((yield request))
    except StopIteration as done:
        result: A = done.value
        return result
