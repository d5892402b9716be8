"""How long the client waits, as it tells its drivers, and what the sockets are told (field notes 1, 3 and 10)."""

from __future__ import annotations

import socket

from sync.upstream.endpoint import Credentials, Deadlines, Endpoint
from sync.upstream.protocol.login import establish
from sync.upstream.protocol.requests import Deadline, Send
from sync.upstream.sockets import set_socket_options
from tests.sync.upstream.protocol.steps import session

_SLOW_LOGIN = 120.0
"""Seconds that a login took while a sync ran: the account was alive (field note 10)."""


def test_a_slow_login_is_no_dead_account() -> None:
    fresh = session("IMAP4REV1")
    steps = establish(fresh, Endpoint("mail.example.test", 993, "tls"), Credentials("login", "fred", "s3cret"))
    allowed = None
    request = steps.send(None)
    while not (isinstance(request, Send) and b"LOGIN" in request.data):
        if isinstance(request, Deadline):
            allowed = request
        reply = b"* OK ready\r\n" if allowed is not None and allowed.what == "greeting" else b""
        request = steps.send(reply if not isinstance(request, Deadline | Send) else b"")

    assert allowed is not None
    assert allowed.what == "LOGIN"
    assert min(allowed.seconds, allowed.inactivity) > _SLOW_LOGIN


def test_transfers_may_take_long_but_not_be_silent_for_long() -> None:
    """Field note 3: the same request was seen to take seventy times as long minutes later."""
    deadlines = Deadlines()
    assert deadlines.command >= 600
    assert deadlines.inactivity <= 120


def test_the_system_notices_a_dead_peer_before_its_own_eleven_minutes() -> None:
    """Field note 1."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        set_socket_options(connection, inactivity=60.0)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
