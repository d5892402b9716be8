"""What connections count, by command; and how they slow down for upstreams that throttle (quirk 5)."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from sync.profiles import BY_NAME, GENERIC
from sync.upstream.blocking_wire import Wire
from sync.upstream.endpoint import Deadlines, Endpoint
from sync.upstream.errors import CommandNo, ConnectionLost
from sync.upstream.protocol import idle
from sync.upstream.protocol.requests import Pause, Receive
from sync.upstream.protocol.session import Session
from sync.upstream.values import CommandUsage
from tests.fakes.scripted_imap import Answer
from tests.sync.upstream.answers import offering, rows
from tests.sync.upstream.conftest import Script
from tests.sync.upstream.drivers import Client, fetched


def test_traffic_belongs_to_the_command_that_ran(script: Script) -> None:
    row, end = b"* 1 FETCH (UID 5 FLAGS ())\r\n", b"A0004 OK done\r\n"
    answers: dict[str, Answer | list[Answer]] = {"IDLE": b"+ idling\r\n* 5 EXISTS\r\n", "DONE": b"{tag} OK done\r\n"}
    _, client = script(offering(b"IDLE") | rows(row.removesuffix(b"\r\n")) | answers)
    assert list(client.statistics.by_command) == ["LOGIN"]
    set_up = client.statistics.by_command["LOGIN"]
    assert (set_up.commands, set_up.bytes_in) == (3, client.statistics.bytes_in)

    fetched(client, [5], b"(FLAGS)")
    next(client.idle())
    client.noop()

    usage = client.statistics.by_command
    assert usage["UID FETCH"] == CommandUsage(1, len(row + end), len(b"A0004 UID FETCH 5 (FLAGS)\r\n"))
    assert usage["IDLE"] == CommandUsage(
        1, len(b"+ idling\r\n* 5 EXISTS\r\nA0005 OK done\r\n"), len(b"A0005 IDLE\r\nDONE\r\n")
    )
    assert usage["NOOP"] == CommandUsage(1, len(b"A0006 OK done\r\n"), len(b"A0006 NOOP\r\n"))
    assert sum(used.commands for used in usage.values()) == client.statistics.commands == 6
    assert sum(used.bytes_in for used in usage.values()) == client.statistics.bytes_in
    assert sum(used.bytes_out for used in usage.values()) == client.statistics.bytes_out


def test_dovecot_traffic_adds_up(client: Client) -> None:
    client.examine(b"INBOX")
    client.uid_search()

    usage = client.statistics.by_command
    assert set(usage) == {"LOGIN", "EXAMINE", "UID SEARCH"}
    assert sum(used.bytes_in for used in usage.values()) == client.statistics.bytes_in


def noops(state: Session, ends: list[bytes]) -> list[float]:
    """Run a NOOP for each end, and return the pauses before them."""
    pauses = []
    for end in ends:
        steps = idle.noop(state)
        reply: bytes | None = None
        pause = 0.0
        try:
            while True:
                request = steps.send(reply)
                if isinstance(request, Pause):
                    pause = request.seconds
                tag = b"A%04d " % state.statistics.commands
                reply = tag + end + b"\r\n" if isinstance(request, Receive) else b""
        except (StopIteration, CommandNo):
            pauses.append(pause)
    return pauses


@pytest.mark.parametrize("hint", [b"OK Success [THROTTLED]", b"NO [THROTTLED] slower", b"NO Request is throttled."])
def test_pauses_double_and_decay(hint: bytes) -> None:
    state = Session(Deadlines(), BY_NAME["gmail"])

    assert noops(state, [b"OK fine"] * 2 + [hint] * 12) == [
        0, 0, 0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 16, 16,
    ]  # fmt: skip
    quiet = noops(state, [b"OK fine"] * 30)
    assert quiet[:3] == [16, 12, 9]
    assert quiet[-1] == 0
    assert quiet == sorted(quiet, reverse=True)


def test_others_are_not_slowed_down() -> None:
    assert noops(Session(Deadlines(), GENERIC), [b"NO [THROTTLED] slower"] * 5) == [0] * 5


def test_both_drivers_pause(script: Script) -> None:
    server, client = script({"NOOP": b"{tag} OK Success [THROTTLED]\r\n"}, profile=BY_NAME["gmail"])
    client.noop()
    began = time.monotonic()
    client.noop()

    # At least: what takes longer proves nothing.
    assert time.monotonic() - began >= 0.05
    assert server.commands.count(b"NOOP") == 2


def test_closing_ends_a_pause() -> None:
    ours, theirs = socket.socketpair()
    wire = Wire(ours, Endpoint("127.0.0.1", 1, "plain"))
    closing = threading.Timer(0.05, wire.shut_down)
    closing.start()
    with theirs, pytest.raises(ConnectionLost, match="pause"):
        wire.perform(Pause(3600))
    closing.join()
    wire.close()
