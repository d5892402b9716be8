"""The embedded servers: what a launcher starts, it stops, and nobody is left when it is killed."""

from __future__ import annotations

import os

from django.db import connection


def test_letters_beyond_ascii_make_trigrams(db: None) -> None:
    """Locale trap: with plain C, pg_trgm finds nothing in Greek, Cyrillic or umlauts."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        cursor.execute("SELECT show_trgm('привет') <> '{}', 'GRÖSSE' ILIKE 'größe%%', lower('ÄÖ') = 'äö'")
        assert cursor.fetchone() == (True, False, True)
    assert "DATABASE_URL" in os.environ
