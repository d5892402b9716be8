"""Segments: immutable stored objects with the bytes of one or many messages, behind ``STORAGES["segments"]``.

A segment is durable when ``store_segment`` returns; rows that point at it are written after that. A crash in between
leaves an object that no row knows, never a row without its bytes.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, Storage, storages

from mailcache.errors import SegmentMissing, SegmentUnavailable

logger = logging.getLogger(__name__)

# Larger messages have a segment of their own.
LARGE_MESSAGE_BYTES = 4 * 1024 * 1024
SEGMENT_TARGET_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A segment that is durable: its name in the store and its size in bytes."""

    name: str
    size: int


class DurableFileSystemStorage(FileSystemStorage):
    """File system storage whose ``save`` returns when the bytes would survive a power cut."""

    def _save(self, name: str, content: File[bytes]) -> str:
        saved: str = super()._save(name, content)  # type: ignore[misc]  # the hook that django-stubs leaves out
        path = Path(self.path(saved))
        _fsync(path)
        # The new directory entries too: up to the root, for a first segment makes its account's directories.
        root = Path(self.location)
        for directory in path.parents:
            _fsync(directory)
            if directory == root:
                break
        return saved


def store_segment(*, account_id: int, pieces: Iterable[bytes]) -> StoredSegment:
    """Store the concatenation of ``pieces`` as a new segment; durable on return."""
    content = ContentFile(b"".join(pieces))
    name = _storage().save(_new_name(account_id), content)
    return StoredSegment(name=name, size=content.size)


def store_segment_file(*, account_id: int, path: Path) -> StoredSegment:
    """Store a finished local file as a new segment, without reading it into memory; durable on return."""
    with path.open("rb") as file:
        name = _storage().save(_new_name(account_id), File(file))
    return StoredSegment(name=name, size=path.stat().st_size)


def local_path(name: str) -> Path | None:
    """Return where a segment lies on this machine, or None where the store is not a file system."""
    storage = _storage()
    return Path(storage.path(name)) if isinstance(storage, FileSystemStorage) else None


def read_range(name: str, offset: int, size: int) -> bytes:
    """Return ``size`` bytes of a segment.

    Raises ``SegmentMissing`` when they are not all there, ``SegmentUnavailable`` when the store cannot tell.
    """
    try:
        data = _read(name, offset, size)
    except FileNotFoundError:
        raise SegmentMissing(f"segment {name} is not in the store") from None
    except OSError as error:
        # Not the error's own text, which names a path of this machine.
        raise SegmentUnavailable(f"segment {name} cannot be read now: {error.strerror or error}") from error
    if len(data) != size:
        raise SegmentMissing(f"segment {name} ends before byte {offset + size}")
    return data


def read_chunks(name: str, offset: int, size: int, *, chunk_size: int = 256 * 1024) -> Iterator[bytes]:
    """Yield a range of a segment in pieces of at most ``chunk_size`` bytes; raises what ``read_range`` raises."""
    for position in range(offset, offset + size, chunk_size):
        yield read_range(name, position, min(chunk_size, offset + size - position))


def _read(name: str, offset: int, size: int) -> bytes:
    path = local_path(name)
    if path is None:
        return _read_remote(name, offset, size)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)


def _read_remote(name: str, offset: int, size: int) -> bytes:
    try:
        with _storage().open(name, "rb") as stored:
            stored.seek(offset)
            return bytes(stored.read(size))
    except OSError:
        raise
    except Exception as error:
        # What else a store raises (time-outs, 5xx) only its own library could name, which nothing here imports.
        logger.warning("segment %s: %s", name, error)
        raise SegmentUnavailable(f"segment {name} cannot be read now: {type(error).__name__}") from error


def _storage() -> Storage:
    return storages["segments"]


def _new_name(account_id: int) -> str:
    # Two levels, so that no directory grows without bound.
    unique = uuid.uuid4().hex
    return f"{account_id}/{unique[:2]}/{unique}"


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
