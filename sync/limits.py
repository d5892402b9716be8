"""How many connections an account may have, and which purposes share them (design section 6). Pure.

| allowed | used for |
|---|---|
| 1 | one worker by turns (replay, sync, bodies); the watcher polls instead of idling |
| 2 | watcher + one worker by turns |
| 3 | watcher + replay and listing + bodies |
| 5 | the same + two more for bodies |
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sync.profiles import Profile

WATCH = "watch"
BODIES = "bodies"
_BY_TURNS = 2

_TOO_MANY = re.compile(
    r"too many (?:simultaneous |concurrent |open )?connections|simultaneous connections"
    r"|maximum number of (?:simultaneous )?connections|connection limit|too many logins|too many sessions",
    re.IGNORECASE,
)


def account_limit(*, chosen: int | None, default: int, profile: Profile, crowded: int | None) -> int:
    """Return how many connections an account may have.

    ``crowded`` is how many the upstream allowed when it lately refused one more (quirk 4).
    """
    limits = [default if chosen is None else chosen, profile.connections, crowded]
    return max(1, min(limit for limit in limits if limit is not None))


def host_limit(*, chosen: int | None, default: int | None, profile: Profile) -> int | None:
    """Return how many connections the whole fleet may have to one host; None for any number."""
    return next((limit for limit in (chosen, profile.host_connections, default) if limit is not None), None)


def body_workers(limit: int) -> int:
    """Return how many connections of a sync fetch bodies beside the one that lists."""
    return max(0, limit - 2)


def may_connect(purpose: str, held: Mapping[str, int], limit: int) -> bool:
    """Tell whether an account with ``limit`` connections, ``held`` by purpose, may open one more for ``purpose``.

    A worker that lists or replays always finds one, and so does the first that watches. Up to two connections all
    workers take turns with one.
    """
    total = sum(held.values())
    watching = held.get(WATCH, 0)
    working = total - watching
    listing = working if limit <= _BY_TURNS else working - held.get(BODIES, 0)
    if total >= limit:
        return False
    if purpose == WATCH:
        return watching < limit - 1 and _leaves(listing, total, limit)
    if working >= max(1, limit - 1):
        return False
    return (
        purpose != BODIES or limit <= _BY_TURNS or (held.get(BODIES, 0) < limit - 2 and _leaves(listing, total, limit))
    )


def _leaves(listing: int, total: int, limit: int) -> bool:
    """Tell whether one is left for listing after one more was opened for something else."""
    return listing > 0 or total < limit - 1


def host_allows(purpose: str, held: Mapping[str, int], limit: int | None) -> bool:
    """Tell the same for a host. Connections that watch are held for good, so half of all are kept from them."""
    if limit is None:
        return True
    if purpose == WATCH and held.get(WATCH, 0) >= limit // 2:
        return False
    return sum(held.values()) < limit


def is_too_many_connections(text: str) -> bool:
    """Tell whether an upstream refuses a connection because there are others (quirks 4 and 36)."""
    return _TOO_MANY.search(text) is not None
