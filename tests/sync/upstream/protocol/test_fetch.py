"""FETCH without a server: the two ways agree, commands stay short."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcache.wire.dates import format_date_time
from mailcache.wire.number_set import NumberSet
from sync.upstream.protocol.fetch import command_sets, uid_fetch
from sync.upstream.protocol.fetch_items import uid_of
from sync.upstream.values import FetchedMessage, LiteralInfo
from tests.sync.upstream.protocol.steps import cut, run, session

FLAG = st.sampled_from(["\\Seen", "\\Answered", "$Forwarded", "NonJunk", "\\\\Seen", "a/b"])


@given(st.sets(st.integers(1, 2**32 - 1), max_size=3_000))
def test_commands_name_exactly_the_uids_and_stay_short(uids: set[int]) -> None:
    sets = list(command_sets(uids))

    assert all(len(raw) < 7_900 for raw in sets)
    numbers = [number for raw in sets for number in NumberSet.parse(raw)]
    assert numbers == sorted(uids)


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[FetchedMessage], bytes]:
    """Messages, and FETCH responses that tell of them, items in any order."""
    messages: list[FetchedMessage] = []
    wire = b""
    for seq in range(1, draw(st.integers(0, 6)) + 1):
        flags = tuple(draw(st.lists(FLAG, max_size=3)))
        moment = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=draw(st.integers(0, 10**8)))
        size, modseq = draw(st.integers(0, 10**12)), draw(st.integers(1, 10**17))
        messages.append(FetchedMessage(seq, seq * 3, flags, moment, size, modseq))
        items = [
            b"UID %d" % (seq * 3), b"FLAGS (%b)" % " ".join(flags).encode(),
            b"INTERNALDATE " + format_date_time(moment), b"RFC822.SIZE %d" % size, b"MODSEQ (%d)" % modseq,
        ]  # fmt: skip
        body = draw(st.none() | st.binary(max_size=40))
        if body is not None:
            items = [*draw(st.permutations(items)), b"BODY[] {%d}\r\n%b" % (len(body), body)]
            messages[-1] = messages[-1]._replace(sections={b"": body})
        wire += b"* %d FETCH (%b)\r\n" % (seq, b" ".join(items if body else draw(st.permutations(items))))
    return messages, wire


def fetched(wire: bytes, size: int) -> list[FetchedMessage]:
    """Return what is delivered of a server's answer."""
    messages: list[FetchedMessage] = []
    run(uid_fetch(session(), range(1, 100), b"(X)", messages.append, None), cut(wire + b"A0001 OK\r\n", size))
    return messages


@given(rows(), st.integers(1, 300))
def test_both_ways_of_reading_agree(made: tuple[list[FetchedMessage], bytes], size: int) -> None:
    messages, wire = made

    assert fetched(wire, size) == messages
    # A space more than the short way knows sends every row the long way.
    assert fetched(wire.replace(b" FETCH (", b" FETCH  ("), size) == messages


@given(rows(), st.integers(1, 300))
def test_sinks_get_the_same_bytes_either_way(made: tuple[list[FetchedMessage], bytes], size: int) -> None:
    messages, wire = made
    sinks: dict[int | None, bytearray] = {}
    infos: list[LiteralInfo] = []

    class Sink:
        def __init__(self, uid: int | None) -> None:
            self.kept = sinks.setdefault(uid, bytearray())

        def write(self, chunk: bytes, /) -> None:
            assert chunk
            self.kept += chunk

    def open_sink(info: LiteralInfo) -> Sink:
        infos.append(info)
        return Sink(info.uid)

    run(uid_fetch(session(), range(1, 100), b"(X)", lambda _: None, open_sink), cut(wire + b"A0001 OK\r\n", size))

    told = [(message.seq, message.sections[b""]) for message in messages if message.sections]
    bodies = [(seq, body) for seq, body in told if isinstance(body, bytes)]
    assert [(info.seq, info.size) for info in infos] == [(seq, len(body)) for seq, body in bodies]
    assert b"".join(sinks.values()) == b"".join(body for _, body in bodies)


@pytest.mark.parametrize(("number", "uid"), [(0, None), (1, 1), (2**32 - 1, 2**32 - 1), (2**32, None)])
def test_what_is_a_uid(number: int, uid: int | None) -> None:
    assert uid_of(number) == uid
