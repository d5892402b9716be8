"""Fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from django.db import OperationalError
from django.db.backends.postgresql.operations import DatabaseOperations
from pytest_django.fixtures import Settings

pytest_plugins = ["tests.servers.fixtures", "tests.e2e.figures", "tests.imapfront.fixtures", "tests.fakes.fixtures"]


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["tests.hashers.QuickArgon2PasswordHasher"]


@pytest.fixture(autouse=True, scope="session")
def _flush_in_spite_of_readers() -> Iterator[None]:
    """The session's frontend reads a few tables in one transaction; TRUNCATE, which locks all, may deadlock with it."""
    flush = DatabaseOperations.execute_sql_flush

    def flush_again(operations: DatabaseOperations, sql_list: Iterable[str]) -> None:
        statements = list(sql_list)
        for _ in range(4):
            try:
                return flush(operations, statements)
            except OperationalError as error:
                if "deadlock" not in str(error):
                    raise
        return flush(operations, statements)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "execute_sql_flush", flush_again)
        yield
