"""Bodies on their way in: small ones in memory, large ones spooled."""

from __future__ import annotations

from dataclasses import dataclass

from mailcache.spool import HEAD_BYTES, SpooledLiteral


@dataclass(frozen=True, slots=True)
class FetchedBody:
    """The bytes of one message: in memory, or spooled."""

    remote_id: int
    uid: int
    data: bytes | SpooledLiteral

    @property
    def size(self) -> int:
        """Octets."""
        return self.data.size if isinstance(self.data, SpooledLiteral) else len(self.data)

    @property
    def head(self) -> bytes:
        """The beginning, at most ``HEAD_BYTES``."""
        return self.data.head if isinstance(self.data, SpooledLiteral) else self.data[:HEAD_BYTES]
