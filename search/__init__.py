"""Finding messages: the query, and what answers it."""

from __future__ import annotations
