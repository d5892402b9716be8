"""Which upstream message is which: by the upstream's id, else by Message-ID, size and date. Pure.

Used where numbers cannot tell: a mailbox that was renumbered, a message that turns up in another mailbox. A wrong match
would show one message's bytes as another's, so what is doubtful is no match: that costs a download and no more.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

# What RFC 8474 7 allows in an id, as long as our column has room for it and for what is put in front.
_OBJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,63}\Z")
_DIGEST_CHARACTERS = 40
# Of the messages of a sample that both sides have, at least this share must be the same.
_SAME_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Traits:
    """What one message is told from others by. ``size`` is the upstream's RFC822.SIZE, be it right or wrong.

    ``message_id`` is empty for a message without one, and None where it is not known.
    """

    size: int
    internal_date: datetime
    upstream_id: str = ""
    message_id: str | None = None


def upstream_key(raw: str) -> str:
    """Return the EMAILID or X-GM-MSGID in the form that is kept; one that is longer than allowed as a digest."""
    if not raw or _OBJECT_ID.match(raw):
        return raw
    return hashlib.sha256(raw.encode("utf-8", errors="replace")).hexdigest()[:_DIGEST_CHARACTERS]


def emailid_of(key: str) -> str:
    """Return the EMAILID that we give to a message whose upstream has one; empty where it has none.

    Other messages get ``i`` and the number of their Remote. Either is kept when the message moves.
    """
    return f"u{key}" if key else ""


def is_upstream_emailid(emailid: str) -> bool:
    """Tell whether one of our EMAILIDs was made from the upstream's."""
    return emailid.startswith("u")


def pair(new: Sequence[Traits], old: Sequence[Traits]) -> dict[int, int]:
    """Find the messages of a mailbox again after it was renumbered: the index in ``old`` by the index in ``new``.

    Both are in the order of their UIDs, and several that cannot be told apart are paired in that order. Messages
    without a Message-ID are paired only where there is one on either side.
    """
    pairs: dict[int, int] = {}
    for key in (_by_upstream_id, _by_message_id_size_date, _by_message_id_size):
        olds = _groups(old, key, set(pairs.values()))
        for value, indexes in _groups(new, key, pairs).items():
            pairs.update(zip(indexes, olds.get(value, ()), strict=False))
    olds = _groups(old, _by_size_date, set(pairs.values()))
    for value, indexes in _groups(new, _by_size_date, pairs).items():
        found = olds.get(value, [])
        if len(indexes) == len(found) == 1 and _may_be_same(new[indexes[0]], old[found[0]]):
            pairs[indexes[0]] = found[0]
    return pairs


def sample_matches(here: Mapping[int, Traits], upstream: Mapping[int, Traits]) -> bool:
    """Tell whether UIDs name the same messages on both sides, judged by a sample of them.

    At least half of those known here must still be there: a mailbox in which hardly one is left proves nothing.
    """
    shared = here.keys() & upstream.keys()
    same = sum(is_same(here[uid], upstream[uid]) for uid in shared)
    return bool(shared) and 2 * len(shared) >= len(here) and same >= _SAME_SHARE * len(shared)


def is_same(one: Traits, other: Traits) -> bool:
    """Tell whether two messages under one UID are one message."""
    if one.upstream_id and other.upstream_id:
        return one.upstream_id == other.upstream_id
    if one.message_id and other.message_id:
        return one.message_id == other.message_id
    return (one.size, one.internal_date) == (other.size, other.internal_date) and _may_be_same(one, other)


def _may_be_same(one: Traits, other: Traits) -> bool:
    if one.upstream_id and other.upstream_id and one.upstream_id != other.upstream_id:
        return False
    return one.message_id is None or other.message_id is None or one.message_id == other.message_id


def _groups(
    traits: Sequence[Traits], key: Callable[[Traits], Hashable | None], done: Mapping[int, int] | set[int]
) -> dict[Hashable, list[int]]:
    groups: dict[Hashable, list[int]] = {}
    for index, each in enumerate(traits):
        value = key(each)
        if value is not None and index not in done:
            groups.setdefault(value, []).append(index)
    return groups


def _by_upstream_id(traits: Traits) -> Hashable | None:
    return traits.upstream_id or None


def _by_message_id_size_date(traits: Traits) -> Hashable | None:
    return (traits.message_id, traits.size, traits.internal_date) if traits.message_id else None


def _by_message_id_size(traits: Traits) -> Hashable | None:
    return (traits.message_id, traits.size) if traits.message_id else None


def _by_size_date(traits: Traits) -> Hashable | None:
    return (traits.size, traits.internal_date)
