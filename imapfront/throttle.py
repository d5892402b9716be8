"""Slows down guessing of passwords: failures are counted by name and by address.

The counts are in the shared cache, so that they hold for all processes and nodes; where the cache is away each process
counts by itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from dataclasses import dataclass, field

from django.core.cache import cache

_MAX_LOCAL = 10_000


@dataclass(slots=True)
class Throttle:
    """Locks a name or an address out for ``lockout_seconds`` after ``failures`` failed logins. Calls may block."""

    failures: int
    lockout_seconds: int
    _local: dict[str, tuple[int, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def is_locked_out(self, *, name: str, address: str) -> bool:
        """True while further attempts are refused without a look at the password."""
        # Many people may share an address, so it gets more room than a name.
        return self._count(_key("name", name)) >= self.failures or (
            self._count(_key("address", address)) >= self.failures * 10
        )

    def note_failure(self, *, name: str, address: str) -> None:
        """Count a failed login."""
        for key in (_key("name", name), _key("address", address)):
            cache.add(key, 0, timeout=self.lockout_seconds)
            with contextlib.suppress(ValueError):  # the key may have expired in between
                cache.incr(key)
            self._count_here(key)

    def forget(self, *, name: str) -> None:
        """A login with the right password ends the counting for its name."""
        key = _key("name", name)
        cache.delete(key)
        with self._lock:
            self._local.pop(key, None)

    def _count(self, key: str) -> int:
        with self._lock:
            here, until = self._local.get(key, (0, 0.0))
        if until < time.monotonic():
            here = 0
        return max(here, int(cache.get(key) or 0))

    def _count_here(self, key: str) -> None:
        now = time.monotonic()
        with self._lock:
            count, until = self._local.pop(key, (0, 0.0))
            self._local[key] = (count + 1 if until >= now else 1, now + self.lockout_seconds)
            if len(self._local) > _MAX_LOCAL:
                self._local.pop(next(iter(self._local)))


def _key(kind: str, value: str) -> str:
    digest = hashlib.sha256(value.lower().encode(errors="surrogateescape")).hexdigest()
    return f"login-failures:{kind}:{digest}"
