"""Drives the protocol without any I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from sync.upstream.endpoint import Deadlines
from sync.upstream.errors import ConnectionLost
from sync.upstream.protocol.requests import Receive, Send, Steps
from sync.upstream.protocol.session import Session

T = TypeVar("T")


def session(*capabilities: str) -> Session:
    """Return a session after login."""
    fresh = Session(Deadlines())
    fresh.capabilities = frozenset(capabilities)
    return fresh


def run(steps: Steps[T], chunks: Iterable[bytes], sent: list[bytes] | None = None) -> T:
    """Run steps against what the server says, whenever it is asked; its end is the end of the connection."""
    incoming = iter(chunks)
    reply: bytes | None = None
    try:
        while True:
            request = steps.send(reply)
            if isinstance(request, Receive):
                reply = next((chunk for chunk in incoming if chunk), None)
                if reply is None:
                    raise ConnectionLost("the end")
            else:
                reply = b""
                if isinstance(request, Send) and sent is not None:
                    sent.append(request.data)
    except StopIteration as done:
        result: T = done.value
        return result


def cut(data: bytes, size: int) -> list[bytes]:
    """Cut bytes into chunks."""
    return [data[start : start + size] for start in range(0, len(data), size)]
