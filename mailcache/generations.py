"""The generation table: one small file by which the processes of a node see each other's commits at once.

Every committer writes a fresh random token into the mailbox's slot after COMMIT and before anybody is told OK. A reader
compares the slot with what it saw last: nanoseconds, no system call. Each account has a slot too, for the bytes of its
messages that arrive. Several of them may share a slot; that costs one needless look, never a missed change.
"""

from __future__ import annotations

import mmap
import os
import secrets
from functools import cache
from pathlib import Path

from django.conf import settings

SLOTS = 65_536
_SLOT_BYTES = 8
_SIZE = SLOTS * _SLOT_BYTES
# Fibonacci hashing spreads consecutive ids, whose mailboxes are often open together.
_MULTIPLIER = 0x9E3779B97F4A7C15
_SHIFT = 64 - 16


class GenerationTable:
    """A shared mapping of the file at ``path``, created when it does not exist."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Growing to the same size is harmless, whoever else does it at the same moment.
            if os.fstat(descriptor).st_size < _SIZE:
                os.ftruncate(descriptor, _SIZE)
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        # Aligned 8-byte items: a store is one instruction, a reader never sees half a token.
        self._slots = memoryview(self._map).cast("Q")

    def bump(self, mailbox_id: int) -> None:
        """Tell every process of the node that the mailbox changed."""
        self._slots[_slot(mailbox_id)] = secrets.randbits(64)

    def read(self, mailbox_id: int) -> int:
        """Return a token that differs from an earlier one if the mailbox may have changed in between."""
        return self._slots[_slot(mailbox_id)]

    def bump_bodies(self, account_id: int) -> None:
        """Tell every process of the node that bytes of the account's messages arrived, or are not to be had."""
        self.bump(~account_id)

    def read_bodies(self, account_id: int) -> int:
        """Return a token that differs from an earlier one if bytes of the account may have arrived in between."""
        return self.read(~account_id)

    def close(self) -> None:
        """Release the mapping."""
        self._slots.release()
        self._map.close()


def _slot(mailbox_id: int) -> int:
    return ((mailbox_id * _MULTIPLIER) & 0xFFFF_FFFF_FFFF_FFFF) >> _SHIFT


@cache
def generation_table() -> GenerationTable:
    """Return this process's table; a forked child shares its parent's mapping."""
    return GenerationTable(Path(settings.GENERATION_TABLE_PATH))
