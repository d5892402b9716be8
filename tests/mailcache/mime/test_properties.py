"""Whatever the bytes, the reader answers: within bounds, consistently, and without raising."""

from __future__ import annotations

import mmap
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailcache.mime.headers import header_end
from mailcache.mime.parsed import ParsedMessage, parse_header, parse_message
from mailcache.mime.scan import MAX_DEPTH, MAX_PARTS, Part, scan
from mailcache.mime.sections import Section, SectionKind, SectionTable
from tests.corpus.hostile import PIECES
from tests.proofs import scaled

_PIECES = st.sampled_from(PIECES)
_MESSAGES = st.one_of(st.lists(_PIECES, max_size=40).map(b"".join), st.binary(max_size=300))


def _parts(part: Part) -> list[Part]:
    return [part, *(found for child in part.children for found in _parts(child))]


@given(_MESSAGES)
@pytest.mark.prove
@settings(max_examples=scaled(400, full=20_000), deadline=None)
def test_offsets_are_ordered_and_nested(data: bytes) -> None:
    root = scan(data).root
    assert root.header_start == 0
    assert root.body_end == len(data)
    for part in _parts(root):
        assert 0 <= part.header_start <= part.body_start <= part.body_end <= len(data)
        assert part.lines == data[part.body_start : part.body_end].count(b"\n")
        position = part.body_start
        for child in part.children:
            assert position <= child.header_start
            assert child.body_end <= max(part.body_end, child.header_start)
            position = child.body_end


@given(_MESSAGES)
@pytest.mark.prove
@settings(max_examples=scaled(400, full=20_000), deadline=None)
def test_joined_parts_are_the_message(data: bytes) -> None:
    table = SectionTable.unpack(SectionTable.of(scan(data).root).pack())
    header, text = table.locate(Section((), SectionKind.HEADER)), table.locate(Section((), SectionKind.TEXT))
    assert header is not None
    assert text is not None
    assert data[slice(*header)] + data[slice(*text)] == data
    assert table.locate(Section()) == (0, len(data))
    assert header[1] == header_end(data, 0, len(data))


@given(_MESSAGES)
@pytest.mark.prove
@settings(max_examples=scaled(400, full=20_000), deadline=None)
def test_everything_that_is_kept_can_be_stored(data: bytes) -> None:
    parsed = parse_message(data)
    for text in _texts(parsed):
        text.encode("utf-8")
        assert "\0" not in text
    for rendered in (parsed.envelope, parsed.body, parsed.bodystructure, parsed.bodystructure_utf8):
        assert rendered.startswith(b"(")
        assert rendered.endswith(b")")
        assert b"\0" not in rendered


@given(_MESSAGES)
def test_a_header_alone_says_what_the_message_says(data: bytes) -> None:
    parsed = parse_message(data)
    header = parse_header(data[: parsed.header_size])
    assert header.envelope == parsed.envelope
    assert header.listing_headers == parsed.listing_headers


@given(_MESSAGES.filter(bool))
def test_a_memory_map_is_read_like_bytes(data: bytes) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert parse_message(mapped) == parse_message(data)


def test_nesting_ends() -> None:
    data = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(500))
    scanned = scan(data)
    part, depth = scanned.root, 0
    while part.children:
        part, depth = part.children[0], depth + 1
    assert depth <= MAX_DEPTH
    assert "nested too deeply" in scanned.defects


def test_parts_end() -> None:
    data = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * (MAX_PARTS * 3)
    scanned = scan(data)
    assert len(_parts(scanned.root)) <= MAX_PARTS
    assert "too many parts" in scanned.defects


def _texts(parsed: ParsedMessage) -> list[str]:
    return [
        parsed.message_id or "", parsed.in_reply_to or "", *parsed.references, parsed.subject, parsed.base_subject,
        parsed.sort_from, parsed.sort_to, parsed.sort_cc, parsed.preview, *parsed.defects,
    ]  # fmt: skip
