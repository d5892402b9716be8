"""Whether an upstream message is the one that is meant: the check before anything is removed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Known:
    """What is known here of a message; None (or an empty id) where it is not."""

    message_id: str | None = None
    """Empty for a message that has none."""
    size: int | None = None
    internal_date: datetime | None = None
    upstream_id: str = ""
    sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What the upstream tells of a message now."""

    uid: int
    message_ids: frozenset[str] = frozenset()
    """Message-ID, and the one that Exchange replaced (quirk 15)."""
    size: int | None = None
    internal_date: datetime | None = None
    upstream_id: str = ""


def is_same(known: Known, told: Told, *, exact_sizes: bool = True) -> bool:
    """Tell whether this is the message: by the upstream's own id for it, else by Message-ID with size or date.

    A message without Message-ID must have the same size and date. Of two facts one may be unknown, not both.
    """
    if known.upstream_id and told.upstream_id:
        return known.upstream_id == told.upstream_id
    size = _agree(known.size, told.size) if exact_sizes else None
    date = _agree(known.internal_date, told.internal_date)
    if known.message_id is None:
        return size is True and date is True
    if known.message_id:
        return known.message_id in told.message_ids and True in (size, date)
    return not told.message_ids and date is True and size is not False


def may_be(known: Known, told: Told, *, exact_sizes: bool = True) -> bool:
    """Tell whether this may be the copy of a message that was sent; the bytes decide where ``is_told`` is false."""
    if known.upstream_id and told.upstream_id and known.upstream_id == told.upstream_id:
        return True
    if exact_sizes and _agree(known.size, told.size) is False:
        return False
    if known.message_id:
        return known.message_id in told.message_ids
    return known.message_id is None or not told.message_ids


def is_told(known: Known, *, exact_sizes: bool = True) -> bool:
    """Tell whether Message-ID and size are enough to know a copy by."""
    return bool(known.message_id) and exact_sizes


def _agree(first: object, second: object) -> bool | None:
    return None if first is None or second is None else first == second
