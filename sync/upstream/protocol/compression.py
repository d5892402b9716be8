"""COMPRESS=DEFLATE (RFC 4978): raw deflate in both directions, inflated in bounded steps."""

from __future__ import annotations

import zlib

from sync.upstream.errors import ProtocolViolation

# A server's few bytes may inflate to a thousand times as many: so much at once, the rest waits for its turn.
_STEP = 256 << 10
_RAW = -15


class Compression:
    """The state of both directions on one connection."""

    def __init__(self) -> None:
        self._deflater = zlib.compressobj(wbits=_RAW)
        self._inflater = zlib.decompressobj(wbits=_RAW)
        self._waiting = b""
        self.pending = False
        """True while bytes that have arrived are not inflated yet."""

    def deflate(self, data: bytes) -> bytes:
        """Return what is to be sent for ``data``, flushed so that the upstream can read all of it."""
        return self._deflater.compress(data) + self._deflater.flush(zlib.Z_SYNC_FLUSH)

    def inflate(self, data: bytes) -> bytes:
        """Take bytes that arrived, and return the next step of what they say; more is left while ``pending``."""
        try:
            inflated = self._inflater.decompress(self._waiting + data, _STEP)
        except zlib.error as error:
            raise ProtocolViolation(f"the compressed stream is broken: {error}") from None
        if self._inflater.eof:
            raise ProtocolViolation("the compressed stream ended by itself")
        self._waiting = self._inflater.unconsumed_tail
        # zlib may hold output back although it has taken all input.
        self.pending = bool(self._waiting) or len(inflated) == _STEP
        return inflated
