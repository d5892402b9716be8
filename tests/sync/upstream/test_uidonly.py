"""UIDONLY (RFC 9586), without which Yahoo shows only a part of large mailboxes (quirk 25)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailcache.wire.number_set import NumberSet
from sync.profiles import BY_NAME, GENERIC
from sync.upstream.values import IdleKind, LiteralInfo
from tests.fakes.scripted_imap import Answer
from tests.sync.upstream.answers import MOMENT, offering
from tests.sync.upstream.conftest import Script
from tests.sync.upstream.drivers import fetched

YAHOO = BY_NAME["yahoo"]
UIDONLY = offering(b"ENABLE", b"UIDONLY") | {"ENABLE": b"* ENABLED UIDONLY\r\n{tag} OK done\r\n"}


def test_rows_carry_the_uid_in_front(script: Script) -> None:
    rows = (
        b'* 105 UIDFETCH (FLAGS (\\Seen) INTERNALDATE "02-Jan-2020 03:04:05 +0000" RFC822.SIZE 9)\r\n'
        b'* 106 UIDFETCH (ENVELOPE ("x") FLAGS ())\r\n* 107 UIDFETCH (UID 107 FLAGS (a))\r\n'
        b"* 999 UIDFETCH (FLAGS (b))\r\n* 0 UIDFETCH (FLAGS ())\r\n{tag} OK done\r\n"
    )
    server, client = script(UIDONLY | {"UID FETCH": rows}, profile=YAHOO)

    messages = fetched(client, [105, 106, 107], b"(FLAGS)")
    assert [(message.seq, message.uid, message.flags) for message in messages] == [
        (0, 105, ("\\Seen",)), (0, 106, ()), (0, 107, ("a",)),
    ]  # fmt: skip
    assert (messages[0].internal_date, messages[0].size) == (MOMENT, 9)
    assert b"ENABLE UIDONLY" in server.commands
    assert client.enabled == {"UIDONLY"}
    noted = [event.message.uid for event in client.noop() if event.message is not None]
    assert noted == [999, None]


@pytest.mark.parametrize("filler", [b"", b" "])
def test_bodies_of_a_uid(script: Script, filler: bytes) -> None:
    rows = b"* 105 UIDFETCH (" + filler + b"BODY[] {3}\r\nabc)\r\n* 8 UIDFETCH (BODY[] {3}\r\nxyz)\r\n{tag} OK done\r\n"
    _, client = script(UIDONLY | {"UID FETCH": rows}, profile=YAHOO)
    offered: list[LiteralInfo] = []

    client.uid_fetch([105], b"(BODY.PEEK[])", on_message=print, open_sink=offered.append)
    assert offered == [LiteralInfo(0, 105, b"", 3)]
    assert [message.sections for message in fetched(client, [105], b"(BODY.PEEK[])")] == [{b"": b"abc"}]


def test_announcements(script: Script) -> None:
    idle = b"+ idling\r\n* 7 EXISTS\r\n* 105 UIDFETCH (FLAGS (a))\r\n* VANISHED 5:6\r\n"
    answers: dict[str, Answer | list[Answer]] = {"IDLE": idle, "DONE": b"{tag} OK done\r\n"}
    _, client = script(
        offering(b"ENABLE", b"UIDONLY", b"IDLE") | {"ENABLE": UIDONLY["ENABLE"]} | answers, profile=YAHOO
    )

    waiting = client.idle(seconds=30)
    exists, changed, vanished = (next(waiting) for _ in range(3))
    assert (exists.kind, exists.number) == (IdleKind.EXISTS, 7)
    assert changed.message is not None
    assert (changed.kind, changed.message.uid) == (IdleKind.FETCH, 105)
    assert (vanished.kind, vanished.vanished) == (IdleKind.VANISHED, NumberSet([(5, 6)]))


def test_searching_by_fetch(script: Script) -> None:
    rows = b"* 9 UIDFETCH ()\r\n* 3 UIDFETCH (UID 3)\r\n{tag} OK done\r\n"
    _, client = script(UIDONLY | {"UID FETCH": rows}, profile=replace(YAHOO, uid_search_all=False))

    assert client.uid_search() == [3, 9]


def test_it_is_enabled_only_where_wanted_and_believed_only_where_named(script: Script) -> None:
    server, _ = script(UIDONLY, profile=GENERIC)
    assert not any(command.startswith(b"ENABLE") for command in server.commands)

    rows = b"* 1 FETCH (UID 5 FLAGS ())\r\n{tag} OK done\r\n"
    _, client = script(UIDONLY | {"ENABLE": b"* ENABLED\r\n{tag} OK done\r\n", "UID FETCH": rows}, profile=YAHOO)
    assert client.refused == {"UIDONLY"}
    assert [message.uid for message in fetched(client, [5], b"(FLAGS)")] == [5]
