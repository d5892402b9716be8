"""Fixtures that all tests share."""

from __future__ import annotations

pytest_plugins = ["tests.servers.fixtures", "tests.e2e.figures", "tests.imapfront.fixtures"]
