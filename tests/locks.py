"""Who waits for whom in the database of a test."""

from __future__ import annotations

from django.db import connection


def somebody_waits() -> bool:
    """Tell whether a transaction waits for a lock of another. From pg_locks: it is not frozen within a transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])
