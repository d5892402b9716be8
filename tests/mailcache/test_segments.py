"""Segments: what is stored comes back, by range, and what is missing is said to be missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailcache.errors import SegmentMissing
from mailcache.segments import local_path, read_chunks, read_range, store_segment, store_segment_file


def test_ranges_of_a_segment() -> None:
    segment = store_segment(account_id=1, pieces=[b"first", b"second"])

    assert segment.size == 11
    assert read_range(segment.name, 5, 6) == b"second"
    assert list(read_chunks(segment.name, 0, 11, chunk_size=4)) == [b"firs", b"tsec", b"ond"]


def test_a_file_becomes_a_segment(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 100_000)

    segment = store_segment_file(account_id=1, path=tmp_path / "large")

    assert read_range(segment.name, 99_990, 10) == b"x" * 10


def test_segments_of_two_accounts_lie_apart() -> None:
    names = [store_segment(account_id=account, pieces=[b"same"]).name for account in (1, 2)]

    assert [name.split("/", maxsplit=1)[0] for name in names] == ["1", "2"]


def test_what_is_missing_is_said_to_be_missing() -> None:
    segment = store_segment(account_id=1, pieces=[b"short"])
    path = local_path(segment.name)
    assert path is not None

    with pytest.raises(SegmentMissing):
        read_range(segment.name, 3, 10)
    path.unlink()
    with pytest.raises(SegmentMissing):
        read_range(segment.name, 0, 1)
