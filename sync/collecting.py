"""The bodies of one FETCH as they come: small ones in memory, large ones spooled."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from mailcache.models import Listing
from mailcache.segments import LARGE_MESSAGE_BYTES, SEGMENT_TARGET_BYTES
from mailcache.spool import SpooledLiteral
from mailcache.wire.framing import LiteralSink
from sync.planner import Waiting
from sync.profiles import Profile
from sync.spool import FetchedBody
from sync.upstream.values import FetchedMessage, LiteralInfo
from sync.verification import is_same_message

ITEMS = b"(BODY.PEEK[])"
# What an upstream that lies about sizes can make one command hold in memory.
_MOST_IN_MEMORY = 3 * SEGMENT_TARGET_BYTES


class BodyCollector:
    """The callbacks of one ``uid_fetch`` of ``ITEMS``. Whoever has it must ``discard`` what is not kept."""

    def __init__(self, messages: Collection[Waiting], directory: Path) -> None:
        self._wanted: Mapping[int, Waiting] = {message.uid: message for message in messages}
        self._directory = directory
        self._bodies: dict[int, FetchedBody] = {}
        self._sinks: list[SpooledLiteral] = []
        self._in_memory = 0

    def take(self, message: FetchedMessage) -> None:
        """Take one FETCH response."""
        data = next(iter(message.sections.values()), None)
        wanted = self._wanted.get(message.uid or 0)
        if wanted is not None and wanted.uid not in self._bodies and isinstance(data, bytes | SpooledLiteral):
            self._bodies[wanted.uid] = FetchedBody(wanted.remote_id, wanted.uid, data)

    def open_sink(self, literal: LiteralInfo) -> LiteralSink | None:
        """Tell where a literal goes."""
        if literal.size <= LARGE_MESSAGE_BYTES and self._in_memory + literal.size <= _MOST_IN_MEMORY:
            self._in_memory += literal.size
            return None
        self._sinks.append(SpooledLiteral(self._directory))
        return self._sinks[-1]

    def found(self) -> list[FetchedBody]:
        """Return what came; an empty body of a message that is not empty is none (quirk 43, G1)."""
        return [body for uid, body in sorted(self._bodies.items()) if body.size or not self._wanted[uid].size]

    def discard(self, *, besides: Collection[FetchedBody] = ()) -> None:
        """Remove what was spooled, but for these."""
        kept = {id(body.data) for body in besides}
        for sink in self._sinks:
            if id(sink) not in kept:
                sink.discard()


def known_headers(account_id: int, profile: Profile, remote_ids: Collection[int]) -> dict[int, bytes]:
    """Return, by Remote, the headers that bodies must have, as far as they are known."""
    if profile.rewrites_bytes:
        return {}  # its messages change (quirk 15)
    rows = Listing.objects.filter(account_id=account_id, remote_id__in=remote_ids, header__isnull=False)
    return {remote_id: bytes(header or b"") for remote_id, header in rows.values_list("remote_id", "header")}


def others_than_meant(headers: Mapping[int, bytes], bodies: Collection[FetchedBody]) -> set[int]:
    """Return the Remotes that another message came for than was asked for."""
    return {
        body.remote_id
        for body in bodies
        if body.remote_id in headers and not is_same_message(headers[body.remote_id], body.head)
    }
