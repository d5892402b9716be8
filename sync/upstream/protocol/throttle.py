"""Going slower where an upstream says that it throttles (quirk 5): from 50 ms to 16 s, and back."""

from __future__ import annotations

from sync.upstream.protocol.responses import Status

_FIRST = 0.05
_LONGEST = 16.0
_DECAY = 0.75


class Throttle:
    """The pause before the next command, in seconds."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self.pause = 0.0

    def note(self, status: Status) -> None:
        """Learn from how a command ended: each hint doubles the pause, each quiet end takes a quarter off."""
        if not self._enabled:
            return
        if status.code == "THROTTLED" or "throttled" in status.text.lower():
            self.pause = min(max(2 * self.pause, _FIRST), _LONGEST)
        else:
            self.pause = self.pause * _DECAY if self.pause * _DECAY >= _FIRST else 0.0
