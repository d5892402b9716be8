"""Waiting for a fact: the one place where tests let time pass."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(predicate: Callable[[], object], timeout: float = 20.0) -> None:
    """Return as soon as *predicate* is true; fail the test if that takes longer than *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {getattr(predicate, '__name__', predicate)}")
        time.sleep(0.02)
