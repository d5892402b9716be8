"""Ends the sessions of users whose password, rights or mailbox paths have changed since they logged in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Protocol

from imapfront.hub import DatabaseAway
from mailcache.reads.logins import auth_versions
from mailcache.reads.pool import Pool
from mailcache.services.login import Login

logger = logging.getLogger(__name__)


class _Connection(Protocol):
    @property
    def login(self) -> Login | None:
        """Who has logged in."""

    def end(self, text: str) -> None:
        """Say BYE when the running command is answered."""


async def end_revoked_logins(pool: Pool, connections: Collection[_Connection], *, poll_interval: float) -> None:
    """Look for changed logins once in an interval (seconds), with one query for all connections of the process."""
    while True:
        await asyncio.sleep(poll_interval)
        users = {connection.login.user_id for connection in connections if connection.login is not None}
        if not users:
            continue
        try:
            now = await auth_versions(pool, users)
        except DatabaseAway as error:
            logger.warning("the database does not answer: %s", error)
            continue
        for connection in list(connections):
            login = connection.login
            if login is None or login.user_id not in users:
                continue
            version = now.get(login.user_id)
            # A lower one is of before a login that came in the meantime.
            if version is None or version > login.auth_version:
                connection.end("log in again: your login, or what it may see, has changed")
