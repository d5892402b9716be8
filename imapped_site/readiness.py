"""Whether this process can do its work: the database answers, its tables are up to date, Redis is there."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache

from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from mailcache.wakeup import is_redis_reachable

logger = logging.getLogger(__name__)

_OK = "ok"


@dataclass(frozen=True, slots=True)
class Readiness:
    """What works. The texts name no host and quote no error: anybody may ask."""

    postgresql: str
    migrations: str
    redis: str

    @property
    def is_ready(self) -> bool:
        """Tell whether requests can be answered. Without Redis they can, only news travels slower."""
        return self.postgresql == self.migrations == _OK

    @property
    def status(self) -> str:
        """Return the whole in one word."""
        if not self.is_ready:
            return "unavailable"
        return "ready" if self.redis == _OK else "degraded"


def check_readiness() -> Readiness:
    """Ask the stores; the reasons of failures go to the log."""
    try:
        missing = _count_unapplied_migrations()
    except DatabaseError as error:
        logger.warning("readiness: PostgreSQL: %s", error)
        return Readiness("unreachable", "unknown", _check_redis())
    return Readiness(_OK, f"{missing} not applied" if missing else _OK, _check_redis())


def _count_unapplied_migrations() -> int:
    applied = MigrationRecorder(connection).applied_migrations()
    return len(_migrations_on_disk() - applied.keys())


@cache
def _migrations_on_disk() -> frozenset[tuple[str, str]]:
    """Every migration of the installed applications: fixed for the life of a process."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    return frozenset(loader.disk_migrations or {})


def _check_redis() -> str:
    return _OK if is_redis_reachable() else "unreachable"
