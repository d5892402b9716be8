"""Slows down guessing of passwords: failures are counted by name and by address.

A name has as many slots as it may have failures. An attempt takes one before the password is looked at, keeps it for a
while when it fails, and gives all back when it succeeds: however many come at once, no more than that are verified.
Where slots are taken by attempts that are still being verified, others wait for these, as a mail client opens many
connections at once. A plain count would have to refuse them, or be read before the attempts at the same time are in it.

All is in the shared cache, so that it holds for all processes and nodes; where the cache is away each process counts by
itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from dataclasses import dataclass, field
from enum import Enum, auto

from django.core.cache import cache
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache

_MAX_LOCAL = 10_000
# After this a slot is free again though nobody gave it back: its process was killed.
_LONGEST_ATTEMPT_SECONDS = 60
_BEING_VERIFIED, _FAILED = 1, 2


class Refusal(Enum):
    """Why a password is not looked at."""

    LOCKED_OUT = auto()
    """Too many have failed."""
    BUSY = auto()
    """As many as may fail are being verified; ask again soon."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login whose password may be looked at; ``Throttle`` has to hear how it ends."""

    name: str
    address: str
    slot: str


def _local_cache() -> LocMemCache:
    # Those of one name are one.
    return LocMemCache(secrets.token_hex(8), {"max_entries": _MAX_LOCAL})


@dataclass(slots=True)
class Throttle:
    """Locks a name or an address out for ``lockout_seconds`` after ``failures`` failed logins. Calls may block."""

    failures: int
    lockout_seconds: int
    _local: BaseCache = field(default_factory=_local_cache)

    def begin(self, *, name: str, address: str) -> Attempt | Refusal:
        """Take a slot of the name. Call ``failed``, ``succeeded`` or ``came_to_nothing`` with the attempt."""
        # Many people may share an address, so it gets more room than a name; and its count need not be exact.
        if self._count(_key("address", address)) >= self.failures * 10:
            return Refusal.LOCKED_OUT
        slots = self._slots(name)
        for store in (cache, self._local):
            states = store.get_many(slots)
            for slot in slots:
                if slot in states:
                    continue
                if store.add(slot, _BEING_VERIFIED, timeout=_LONGEST_ATTEMPT_SECONDS):
                    return Attempt(name, address, slot)
                states = store.get_many(slots)  # another was quicker
                if not states:
                    break  # or the cache is away
            if states:
                is_over = all(states.get(slot) == _FAILED for slot in slots)
                return Refusal.LOCKED_OUT if is_over else Refusal.BUSY
        return Refusal.BUSY

    def failed(self, attempt: Attempt) -> None:
        """The password was wrong."""
        address = _key("address", attempt.address)
        for store in (cache, self._local):
            store.set(attempt.slot, _FAILED, timeout=self.lockout_seconds)
            store.add(address, 0, timeout=self.lockout_seconds)
            with contextlib.suppress(ValueError):  # the key may have expired in between
                store.incr(address)

    def succeeded(self, attempt: Attempt) -> None:
        """A login with the right password ends the counting for its name."""
        for store in (cache, self._local):
            store.delete_many(self._slots(attempt.name))

    def came_to_nothing(self, attempt: Attempt) -> None:
        """The password was not looked at."""
        for store in (cache, self._local):
            store.delete(attempt.slot)

    def _slots(self, name: str) -> list[str]:
        key = _key("name", name)
        return [f"{key}:{number}" for number in range(self.failures)]

    def _count(self, key: str) -> int:
        return max(int(store.get(key) or 0) for store in (cache, self._local))


def _key(kind: str, value: str) -> str:
    # Upper case as the database compares names: there is more than one letter whose upper case is I, or S.
    digest = hashlib.sha256(value.upper().encode(errors="surrogateescape")).hexdigest()
    return f"login-failures:{kind}:{digest}"
