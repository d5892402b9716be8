"""IDLE: announcements, renewal, and the way out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sync.upstream.endpoint import Deadlines
from sync.upstream.errors import CommandBad, ConnectionLost, NotOffered, ProtocolViolation, ServerBye, UpstreamError
from sync.upstream.values import IdleKind, LiteralInfo
from tests.fakes.scripted_imap import Action, Answer
from tests.sync.upstream.conftest import Script

IDLES: dict[str, Answer | list[Answer]] = {
    "CAPABILITY": b"* CAPABILITY IMAP4rev1 IDLE\r\n{tag} OK done\r\n",
    "IDLE": b"+ idling\r\n",
    "DONE": b"{tag} OK done\r\n",
}


def test_announcements_come_in_order(script: Script) -> None:
    announced = (
        b"* 2 RECENT\r\n+ idling\r\n* OK Still here\r\n* 5 EXISTS\r\n* 3 EXPUNGE\r\n* VANISHED 7:9\r\n"
        b"* 4 FETCH (UID 4 FLAGS (\\Seen))\r\n"
    )
    _, client = script({**IDLES, "IDLE": announced})

    events = list(client.idle(seconds=0.2))

    assert [(event.kind, event.number) for event in events] == [
        (IdleKind.EXISTS, 5),
        (IdleKind.EXPUNGE, 3),
        (IdleKind.VANISHED, None),
        (IdleKind.FETCH, 4),
    ]
    assert events[3].message is not None
    assert events[3].message.flags == ("\\Seen",)


def test_idle_is_renewed(script: Script) -> None:
    server, client = script(
        {**IDLES, "DONE": [b"{tag} OK\r\n", b"* 9 EXISTS\r\n{tag} OK\r\n"]}, deadlines=Deadlines(idle=0.1)
    )

    event = next(client.idle(seconds=30))

    assert (event.kind, event.number) == (IdleKind.EXISTS, 9)
    assert server.commands[-4:] == [b"IDLE", b"DONE", b"IDLE", b"DONE"]


def test_the_next_command_ends_idle(script: Script) -> None:
    server, client = script({**IDLES, "IDLE": b"+ idling\r\n* 5 EXISTS\r\n"})
    for event in client.idle():
        assert event.number == 5
        break

    assert client.noop() == []
    assert server.commands[-3:] == [b"IDLE", b"DONE", b"NOOP"]


def test_idle_goes_on_where_it_was(script: Script) -> None:
    server, client = script(IDLES)

    assert list(client.idle(seconds=0.05)) == []
    assert list(client.idle(seconds=0.05)) == []
    assert server.commands[-1] == b"IDLE"
    assert server.commands.count(b"IDLE") == 1


def test_what_was_announced_before_comes_first(script: Script) -> None:
    server, client = script({**IDLES, "UID SEARCH": b"* 8 EXISTS\r\n* SEARCH\r\n{tag} OK\r\n"})
    client.uid_search()

    assert next(client.idle()).number == 8
    assert b"IDLE" not in server.commands


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\n{tag} OK\r\n"}, NotOffered),
        ({"IDLE": b"{tag} BAD no\r\n"}, CommandBad),
        ({"IDLE": b"+ idling\r\n{tag} OK enough\r\n"}, ProtocolViolation),
        ({"IDLE": b"+ idling\r\n* BYE timeout\r\n"}, ServerBye),
        ({"IDLE": (b"+ idling\r\n", Action.DROP)}, ConnectionLost),
    ],
)
def test_idle_that_cannot_be(script: Script, answers: dict[str, Answer], error: type[UpstreamError]) -> None:
    _, client = script({**IDLES, **answers})

    with pytest.raises(error):
        list(client.idle(seconds=30))
    assert client.poisoned is (error not in {NotOffered, CommandBad})


def test_a_dead_peer_is_noticed_at_renewal(script: Script) -> None:
    deadlines = replace(Deadlines(), idle=0.1, inactivity=0.2)
    _, client = script({**IDLES, "DONE": Action.HANG}, deadlines=deadlines)

    with pytest.raises(UpstreamError, match="no answer"):
        next(client.idle())
    assert client.poisoned


def test_announcements_do_not_reach_the_sinks_of_an_earlier_fetch(script: Script) -> None:
    announced = b"+ idling\r\n* 1 FETCH (UID 5 BODY[] {3}\r\nabc)\r\n"
    _, client = script({**IDLES, "IDLE": announced, "UID FETCH": b"{tag} OK done\r\n"})
    offered: list[LiteralInfo] = []

    client.uid_fetch([5], b"(BODY.PEEK[])", on_message=print, open_sink=offered.append)
    event = next(client.idle())

    assert offered == []
    assert event.message is not None
    assert event.message.sections == {}
