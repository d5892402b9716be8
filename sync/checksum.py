"""A checksum of a mailbox that does not depend on the order of its messages. Pure.

Each message is hashed by itself (keyed BLAKE2b over UID and flags) and the hashes are added up modulo 2**128: two
streams in different order agree, nothing is kept per message, and with a key that the upstream does not know no set
of messages can be made to look like another (field notes 3, "XOR sync CRC", asks for a sum instead of an XOR).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from hashlib import blake2b

from mailcache.flags import FlagSet

_BYTES = 16
_MODULUS = 1 << 8 * _BYTES


class MailboxChecksum:
    """The checksum of the messages added so far: ``uids`` of their UIDs alone, ``flags`` of UIDs with flags."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.count = 0
        self.uids = 0
        self.flags = 0

    def add(self, uid: int, flags: FlagSet, labels: Collection[str] = ()) -> None:
        """Add one message; where it has labels, they count as its flags do."""
        number = uid.to_bytes(8)
        self.count += 1
        self.uids = (self.uids + self._hash(number)) % _MODULUS
        self.flags = (self.flags + self._hash(number + _canonical(flags) + _spelled(labels))) % _MODULUS

    def _hash(self, data: bytes) -> int:
        return int.from_bytes(blake2b(data, digest_size=_BYTES, key=self._key).digest())


def _spelled(labels: Collection[str]) -> bytes:
    return "\n".join(["", *sorted(labels)]).encode() if labels else b""


@lru_cache(maxsize=4096)
def _canonical(flags: FlagSet) -> bytes:
    """Return the flags as bytes that are equal exactly where clients would see no difference."""
    keywords = " ".join(sorted(keyword.lower() for keyword in flags.keywords))
    return bytes([int(flags.system)]) + keywords.encode("ascii", "backslashreplace")
