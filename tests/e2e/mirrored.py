"""What the tests that only read share: an account whose mail has been mirrored once."""

from __future__ import annotations

from dataclasses import dataclass

from tests.e2e.system import System
from tests.servers.dovecot import Dovecot


@dataclass(frozen=True, slots=True)
class MirroredAccount:
    """An account of Dovecot with the whole corpus, and a system that has synced it once."""

    dovecot: Dovecot
    upstream_user: str
    system: System
    address: str
    messages: int
    sync_seconds: float
