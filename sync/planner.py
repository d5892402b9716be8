"""What a sync has to do, from what the upstream said and what is here. Pure.

Works on exact UID lists, chunked by number of messages, never by UID span (field note 16).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from mailcache.flags import FlagSet

CHUNK_MESSAGES = 500

# The first batch is small: it measures how fast the upstream is, and the newest mail can be read at once.
FIRST_BATCH_BYTES = 256 * 1024
_QUICK_SECONDS = 2.0
# A batch that takes less says little about how fast larger ones come.
ROUGH_SECONDS = 0.5
_SLOW_SECONDS = 8.0
_GROWTH = 8
# Headers are fetched ahead only where the bodies would take longer than this to come.
_BODIES_SOON_SECONDS = 60.0

_ROLE_ORDER = {"inbox": 0, "sent": 1, "drafts": 1, "archive": 3, "all": 3, "trash": 4, "junk": 4}
_OTHER_ROLES = 2


class Difference(NamedTuple):
    """UIDs upstream and here, compared; each list ascending."""

    new: list[int]
    kept: list[int]
    gone: list[int]


class Waiting(NamedTuple):
    """One message whose body is still upstream only."""

    remote_id: int
    uid: int
    size: int
    attempts: int = 0
    """How often it was set aside already."""


def mailbox_order(role: str, name: str) -> tuple[int, str]:
    """Sort key of mailboxes: INBOX, Sent and Drafts, others, Archive and All, Trash and Junk; then by name."""
    return (_ROLE_ORDER.get(role, _OTHER_ROLES), name)


def is_complete(exists: int, uids: Sequence[int]) -> bool:
    """Tell whether a list of all UIDs can be what a mailbox with ``exists`` messages holds."""
    return len(uids) >= exists


def compare_uids(upstream: Iterable[int], here: Collection[int]) -> Difference:
    """Compare the upstream's complete list of UIDs with those known here."""
    there = set(upstream)
    known = set(here)
    return Difference(sorted(there - known), sorted(there & known), sorted(known - there))


def without(uids: Sequence[int], gone: Iterable[int]) -> list[int]:
    """Return ``uids`` less those that are gone, in their order."""
    left = set(gone)
    return [uid for uid in uids if uid not in left]


def chunks(uids: Sequence[int], size: int = CHUNK_MESSAGES) -> Iterator[Sequence[int]]:
    """Cut a list into pieces of at most ``size``, in order."""
    return (uids[start : start + size] for start in range(0, len(uids), size))


def changed_flags(upstream: Mapping[int, FlagSet], agreed: Mapping[int, FlagSet]) -> dict[int, FlagSet]:
    """Return the upstream's flags, by UID, where they are not those last agreed. UIDs not known here are left out."""
    return {uid: flags for uid, flags in upstream.items() if uid in agreed and agreed[uid] != flags}


def next_batch(
    waiting: Sequence[Waiting], start: int, *, limit: int, alone_above: int, most: int = CHUNK_MESSAGES
) -> Sequence[Waiting]:
    """Return the batch of bodies that begins at ``start`` of a list that is newest first.

    It has at most ``limit`` bytes and ``most`` messages, but always one message. A message that is larger than
    ``alone_above``, or that was set aside before, is fetched alone.
    """
    end = start
    total = 0
    while end < len(waiting) and end - start < most:
        message = waiting[end]
        alone = message.size > alone_above or message.attempts > 0
        if end > start and (total + message.size > limit or alone):
            break
        end += 1
        total += message.size
        if alone:
            break
    return waiting[start:end]


def next_limit(limit: int, *, seconds: float, full: bool, largest: int) -> int:
    """Return how many bytes the next batch may have, after one with ``limit`` took ``seconds``.

    ``full`` tells whether that batch was as large as allowed: a small one says nothing about large ones.
    """
    if seconds > _SLOW_SECONDS:
        return max(FIRST_BATCH_BYTES, limit // 2)
    if full and seconds < _QUICK_SECONDS:
        return min(largest, limit * _GROWTH)
    return limit


def are_headers_worthwhile(body_bytes: int, bytes_per_second: float) -> bool:
    """Tell whether clients would wait long enough for these bodies that their headers should be fetched first."""
    return body_bytes > bytes_per_second * _BODIES_SOON_SECONDS
