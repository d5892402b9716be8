"""The framer: lines and literals, limits, and the place in the stream."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcache.wire.framing import (
    Choice,
    ChooseLiteral,
    ContinuationWanted,
    Event,
    Frame,
    Framer,
    Literal,
    LiteralHeader,
    LiteralSink,
    Refused,
    TooLong,
)


class ListSink:
    """Keeps the chunks that it was given."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def write(self, chunk: bytes, /) -> None:
        self.chunks.append(chunk)


def collect(header: LiteralHeader) -> Choice:
    return Choice.COLLECT


def framer(choose_literal: ChooseLiteral = collect, *, max_line: int = 1_000) -> Framer:
    return Framer(choose_literal=choose_literal, max_line=max_line, max_literals=100)


def events(subject: Framer, chunks: Iterable[bytes]) -> list[Event]:
    """Feed the chunks one by one and return all events."""
    found: list[Event] = []
    for chunk in chunks:
        subject.feed(chunk)
        while (event := subject.next_event()) is not None:
            found.append(event)
    return found


def test_lines_and_literals() -> None:
    data = b"a LOGIN {4}\r\nfred {3+}\r\na\r\nx\r\nb NOOP\nc APPEND x ~{2}\r\n\x00\x01\r\n"

    assert events(framer(), [data]) == [
        ContinuationWanted(),
        Frame((b"a LOGIN ", Literal(4, b"fred"), b" ", Literal(3, b"a\r\n"), b"x")),
        Frame((b"b NOOP",)),
        ContinuationWanted(),
        Frame((b"c APPEND x ", Literal(2, b"\x00\x01"), b"")),
    ]


TEXT = st.binary(max_size=30).map(
    lambda raw: raw.replace(b"\n", b"").replace(b"\r", b"").replace(b"}", b"").replace(b"~", b"")
)
FRAMES = st.lists(
    st.tuples(TEXT, st.lists(st.tuples(st.binary(max_size=50), st.booleans(), TEXT), max_size=4)), max_size=5
)


@given(FRAMES, st.data())
def test_chunks_do_not_matter(frames: list[tuple[bytes, list[tuple[bytes, bool, bytes]]]], data: st.DataObject) -> None:
    stream = b""
    expected: list[Frame] = []
    for first, literals in frames:
        pieces: list[bytes | Literal] = [first]
        stream += first
        for content, synchronizing, text in literals:
            stream += b"{%d%b}\r\n" % (len(content), b"" if synchronizing else b"+") + content + text
            pieces += [Literal(len(content), content), text]
        stream += b"\r\n"
        expected.append(Frame(tuple(pieces)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    found = events(framer(), chunks)

    assert [event for event in found if isinstance(event, Frame)] == expected
    wanted = sum(synchronizing for _, literals in frames for _, synchronizing, _ in literals)
    assert found.count(ContinuationWanted()) == wanted


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_give_the_same_events_in_any_chunks(data: bytes, size: int) -> None:
    def choose(header: LiteralHeader) -> Choice:
        return Choice.COLLECT if header.size < 10 else Choice.REFUSE

    chunks = [data[start : start + size] for start in range(0, len(data), size)]

    assert events(framer(choose), chunks) == events(framer(choose), [data])


def test_a_sink_gets_the_bytes() -> None:
    sink = ListSink()

    def choose(header: LiteralHeader) -> LiteralSink:
        assert header.preceding == b"* 1 FETCH (BODY[] "
        return sink

    found = events(framer(choose), [b"* 1 FETCH (BODY[] {6}\r\nab", b"cd", b"ef)", b"\r\n"])

    assert found[1:] == [Frame((b"* 1 FETCH (BODY[] ", Literal(6, None, sink), b")"))]
    assert sink.chunks == [b"ab", b"cd", b"ef"]


def test_the_header_tells_what_came_before() -> None:
    seen: list[tuple[int, bool, bool, bytes, int]] = []

    def choose(header: LiteralHeader) -> Choice:
        seen.append((header.size, header.synchronizing, header.binary, header.preceding, len(header.pieces)))
        return Choice.COLLECT

    events(framer(choose), [b"x {1+}\r\na y ~{1}\r\nb\r\n"])

    assert seen == [(1, False, False, b"x ", 1), (1, True, True, b" y ", 3)]


def test_skipped_literals_and_lines_that_only_look_like_one() -> None:
    assert events(framer(lambda header: Choice.SKIP), [b"x {3+}\r\nabc y\r\n"]) == [Frame((b"x ", Literal(3), b" y"))]
    assert events(framer(lambda header: Choice.TEXT), [b"* OK {3}\r\nnext\r\n"]) == [
        Frame((b"* OK {3}",)),
        Frame((b"next",)),
    ]


def test_a_refused_literal_costs_one_frame() -> None:
    def choose(header: LiteralHeader) -> Choice:
        return Choice.REFUSE if header.size > 5 else Choice.COLLECT

    found = events(framer(choose), [b"a X {9}\r\nb NOOP\r\nc X {6+}\r\nabcdef {2+}\r\nxy z\r\nd NOOP\r\n"])

    assert [type(event) for event in found] == [Refused, Frame, Refused, Frame]
    assert isinstance(found[0], Refused)
    assert found[0].header.preceding == b"a X "
    assert found[1] == Frame((b"b NOOP",))
    assert found[3] == Frame((b"d NOOP",))


def test_too_many_literals_are_refused() -> None:
    found = events(framer(max_line=10_000), [b"a " + b"{0+}\r\n " * 200 + b"\r\nb\r\n"])

    assert [type(event) for event in found] == [Refused, Frame]


@pytest.mark.parametrize("size", [1, 7, 5_000])
def test_a_line_that_is_too_long_costs_one_frame(size: int) -> None:
    data = b"a SEARCH " + b"x" * 3_000 + b" {5+}\r\nhello\r\nb NOOP\r\n"
    subject = framer()

    found = events(subject, [data[start : start + size] for start in range(0, len(data), size)])

    assert [type(event) for event in found] == [TooLong, Frame]
    assert isinstance(found[0], TooLong)
    assert found[0].start.startswith(b"a SEARCH ")
    assert subject.buffered == 0


def test_a_line_without_end_is_not_kept() -> None:
    subject = framer()
    for _ in range(1_000):
        subject.feed(b"x" * 1_000)
        assert subject.next_event() is None
    assert subject.buffered < 3_000


def test_take_line_is_bounded() -> None:
    subject = framer()
    subject.feed(b"DONE {5}\r\n")
    assert subject.take_line() == b"DONE {5}"
    assert subject.take_line() is None
    subject.feed(b"x" * 1_001)
    assert isinstance(subject.take_line(), TooLong)


def test_bytes_before_starttls_can_be_dropped() -> None:
    subject = framer()
    subject.feed(b"a STARTTLS\r\nb NOOP\r\nc")
    assert subject.next_event() == Frame((b"a STARTTLS",))
    assert subject.between_frames

    assert subject.discard_buffer() == 9
    assert subject.next_event() is None


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


@pytest.mark.parametrize(
    "stream",
    [
        lambda n: b"* SEARCH" + b" 1234567" * n + b"\r\n",
        lambda n: b"x" + b"{0+}\r\n " * n + b"\r\n",
        lambda n: b"x {%d}\r\n" % (8 * n) + b"y" * (8 * n) + b"\r\n",
        lambda n: b"* 1 EXISTS\r\n" * n,
    ],
    ids=["line", "literals", "literal", "lines"],
)
def test_time_grows_with_the_bytes(stream: Callable[[int], bytes]) -> None:
    def run(n: int) -> None:
        subject = Framer(choose_literal=collect, max_line=100_000_000, max_literals=1_000_000)
        data = stream(n)
        # Pieces as small as a slow network's: what rescans its buffer shows here.
        found = events(subject, (data[start : start + 100] for start in range(0, len(data), 100)))
        assert isinstance(found[-1], Frame)

    small = min(_seconds(lambda: run(2_000)) for _ in range(3))
    large = min(_seconds(lambda: run(32_000)) for _ in range(2))

    # Sixteen times the bytes; the square would be 256 times the time.
    assert large < 90 * max(small, 0.0005)


def test_plain_lines_can_be_taken_by_pattern() -> None:
    subject = framer()
    subject.feed(b"* 1 EXISTS\r\n* 2 EXISTS\r\n* OK\r\n* 3 EXI")
    pattern = re.compile(rb"\* (\d+) EXISTS\r\n")

    assert subject.take_match(pattern) == (b"1",)
    assert subject.take_match(pattern) == (b"2",)
    assert subject.take_match(pattern) is None
    assert subject.next_event() == Frame((b"* OK",))
    assert subject.take_match(pattern) is None
    subject.feed(b"STS\r\n")
    assert subject.take_match(pattern) == (b"3",)
    assert subject.buffered == 0


def test_no_line_is_taken_within_a_frame() -> None:
    subject = framer()
    subject.feed(b"x {3+}\r\n")
    assert subject.next_event() is None
    subject.feed(b"ab\n")
    assert subject.take_match(re.compile(rb"ab\n")) is None


def test_a_whole_frame_with_one_literal_can_be_taken() -> None:
    pattern = re.compile(rb"\* (\d+) X \{(\d+)\}\r\n")
    subject = framer()
    subject.feed(b"* 1 X {3}\r\na)\n)\r\n* 2 X {3}\r\nab")

    assert subject.take_with_literal(pattern, b")\r\n") == ((b"1", b"3"), b"a)\n")
    assert subject.take_with_literal(pattern, b")\r\n") == 4
    subject.feed(b"c y)\r\n")
    assert subject.take_with_literal(pattern, b")\r\n") == 0
    assert subject.next_event() == ContinuationWanted()
    assert subject.take_with_literal(pattern, b")\r\n") == 0
    assert subject.next_event() == Frame((b"* 2 X ", Literal(3, b"abc"), b" y)"))
