"""Segments: what is stored comes back, by range, and what is missing is said to be missing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import (  # type: ignore[import-untyped]  # it brings no types
    ClientError,
    ReadTimeoutError,
)
from django.core.files.base import File
from django.core.files.storage import Storage

from mailcache import segments
from mailcache.errors import SegmentMissing, SegmentUnavailable
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


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ETIMEDOUT])
def test_what_cannot_be_read_now_is_not_said_to_be_missing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    segment = store_segment(account_id=1, pieces=[b"here"])
    error = OSError(number, os.strerror(number), "/srv/objects/secret")
    monkeypatch.setattr(segments, "_read", _raising(error))

    with pytest.raises(SegmentUnavailable, match=os.strerror(number)) as raised:
        read_range(segment.name, 0, 4)

    assert "/srv" not in str(raised.value)


class RemoteStorage(Storage):
    """A store that is no file system, and fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        raise self.error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FileNotFoundError("File does not exist"), SegmentMissing),
        (ClientError({"Error": {"Code": "503", "Message": "Slow Down"}}, "GetObject"), SegmentUnavailable),
        (ReadTimeoutError(endpoint_url="https://objects.example.test"), SegmentUnavailable),
        (ConnectionResetError("by peer"), SegmentUnavailable),
    ],
)
def test_a_remote_store_that_fails(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: type[Exception]
) -> None:
    monkeypatch.setattr(segments, "_storage", lambda: RemoteStorage(error))

    with pytest.raises(expected):
        list(read_chunks("1/ab/name", 0, 4))


def _raising(error: Exception) -> Callable[..., bytes]:
    def read(*_: object) -> bytes:
        raise error

    return read
