"""What both drivers do with sockets."""

from __future__ import annotations

import socket

from sync.upstream.endpoint import Deadlines, Endpoint
from sync.upstream.errors import ConnectFailed, TimedOut

_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


def set_socket_options(connection: socket.socket, *, inactivity: float) -> None:
    """Send small commands at once, and notice a peer that vanished (field note 1: Linux waits 11 minutes)."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(inactivity * 1000))


def no_connection(endpoint: Endpoint, deadlines: Deadlines, failure: OSError | None) -> ConnectFailed | TimedOut:
    """Return what to raise when no address answered; ``failure`` is the first one's."""
    place = f"{endpoint.host}:{endpoint.port}"
    if failure is None or isinstance(failure, TimeoutError):
        return TimedOut(f"{place}: no connection within {deadlines.connect:g} s")
    return ConnectFailed(f"{place}: {failure}")
