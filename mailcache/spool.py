"""Large literals on their way in: in a temporary file, hashed as they pass."""

from __future__ import annotations

import hashlib
import mmap
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mailcache.mime.headers import Buffer

HEAD_BYTES = 64 * 1024
_LEFT_BEHIND_AFTER_SECONDS = 86_400.0


class SpooledLiteral:
    """A ``LiteralSink`` that writes to a file."""

    def __init__(self, directory: Path) -> None:
        self._file: IO[bytes] = tempfile.NamedTemporaryFile(dir=directory, delete=False)  # noqa: SIM115 - outlives this
        self._hash = hashlib.sha256()
        self.path = Path(self._file.name)
        self.size = 0
        self.head = b""
        """The beginning, in which the header is."""

    def write(self, chunk: bytes, /) -> None:
        """Take the next piece."""
        if self.size < HEAD_BYTES:
            self.head += chunk[: HEAD_BYTES - self.size]
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def finish(self) -> bytes:
        """Close the file and return the SHA-256 of what it holds."""
        self._file.close()
        return self._hash.digest()

    def discard(self) -> None:
        """Remove the file."""
        with suppress(OSError):  # closing writes what is buffered, for which a full disk has no room
            self._file.close()
        self.path.unlink(missing_ok=True)

    @contextmanager
    def mapped(self) -> Iterator[Buffer]:
        """Yield the bytes as a memory map, never as a copy."""
        if not self.size:
            yield b""
            return
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped


def spool_directory(parent: Path) -> Path:
    """Return the directory for spooled literals, without what a killed worker left in it long ago."""
    directory = parent / "spool"
    directory.mkdir(parents=True, exist_ok=True)
    too_old = time.time() - _LEFT_BEHIND_AFTER_SECONDS
    for path in directory.iterdir():
        try:
            if path.stat().st_mtime < too_old:
                path.unlink(missing_ok=True)
        except FileNotFoundError:
            continue  # another worker was quicker
    return directory
