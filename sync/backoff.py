"""How long to wait before something that failed is tried again: exponential, with full jitter. Pure."""

from __future__ import annotations

from datetime import timedelta
from random import Random

_FIRST_SECONDS = 5.0
_SHORT_SECONDS = 60.0
_SHORT_TRIES = 10
_LONG_SECONDS = 900.0
_MESSAGE_SECONDS = 300.0
_MESSAGE_LONGEST = 86_400.0
_LEAST = 1.0


def account_delay(failures: int, rng: Random) -> timedelta:
    """Return the pause after ``failures`` (>= 1) failed runs in a row.

    An upstream that was away is tried at least once a minute for the first ten times, later every quarter of an hour.
    """
    ceiling = _FIRST_SECONDS * 2.0 ** min(failures - 1, 20)
    if failures <= _SHORT_TRIES:
        ceiling = min(ceiling, _SHORT_SECONDS)
    else:
        ceiling = min(_SHORT_SECONDS * 2.0 ** min(failures - _SHORT_TRIES, 20), _LONG_SECONDS)
    return _jittered(ceiling, rng)


def mailbox_delay(failures: int, rng: Random) -> timedelta:
    """Return for how long a mailbox that failed ``failures`` times in a row is left alone: at most 6 hours."""
    return _jittered(min(60.0 * 2.0 ** min(failures - 1, 20), 6 * 3600.0), rng, share=0.5)


def message_delay(attempts: int, rng: Random) -> timedelta:
    """Return for how long a message that could not be fetched ``attempts`` times is set aside: at most a day."""
    return _jittered(min(_MESSAGE_SECONDS * 2.0 ** min(attempts - 1, 20), _MESSAGE_LONGEST), rng, share=0.5)


def reconnect_delay(attempts: int, rng: Random) -> timedelta:
    """Return the pause before a connection that broke is dialled again, after ``attempts`` failures in a row."""
    return timedelta(seconds=rng.uniform(0, min(0.5 * 2.0 ** min(attempts - 1, 20), 4.0)))


def mutation_delay(attempts: int, rng: Random) -> timedelta:
    """Return when a change that failed ``attempts`` times is sent again: at first at once, in the end hourly."""
    if attempts <= 1:
        return timedelta()
    return _jittered(min(5.0 * 4.0 ** min(attempts - 2, 20), 3600.0), rng, share=0.5)


def replay_delay(failures: int, rng: Random) -> timedelta:
    """Return for how long replay leaves alone an upstream that it could not work with ``failures`` times in a row.

    One that is away is knocked at meanwhile (``sync.replay.returning``), so that its return is noticed within a second.
    """
    return _jittered(min(1.5 * 2.0 ** min(failures - 1, 20), _SHORT_SECONDS), rng, share=0.5)


def soon(rng: Random) -> timedelta:
    """Return when to look again for what somebody else is using now."""
    return timedelta(seconds=rng.uniform(2.0, 10.0))


def spread(interval: float, rng: Random) -> timedelta:
    """Return a periodic interval (seconds), shortened by up to a fifth, so that accounts do not march in step."""
    return timedelta(seconds=interval * rng.uniform(0.8, 1.0))


def _jittered(ceiling: float, rng: Random, share: float = 1.0) -> timedelta:
    """Return a random pause up to ``ceiling`` seconds, of which ``share`` is random."""
    return timedelta(seconds=max(_LEAST, ceiling * (1 - share) + rng.uniform(0, ceiling * share)))
