"""The frontend's few hot reads, over psycopg's asynchronous pool. Every one starts from the session's user."""

from __future__ import annotations
