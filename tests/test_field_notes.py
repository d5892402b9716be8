"""The map of field notes to tests is complete and true."""

from __future__ import annotations

import ast
from dataclasses import fields
from functools import cache
from pathlib import Path

from sync.profiles import Profile
from tests.fakes.quirky.quirks import Quirk, row_of
from tests.field_notes import NOTES, QUIRKS

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent


@cache
def names_in(path: str) -> frozenset[str]:
    """Return the names of the test functions of a module."""
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def test_every_row_is_mapped() -> None:
    assert list(NOTES) == list(range(1, 65))
    assert list(QUIRKS) == list(range(1, 46))


def test_tests_that_are_named_exist() -> None:
    named = {test for rows in (NOTES, QUIRKS) for row in rows.values() if not isinstance(row, str) for test in row}
    missing = []
    for test in sorted(named):
        path, _, name = test.partition("::")
        if not (TESTS / path).is_file() or name not in names_in(path):
            missing.append(test)
    assert not missing


def test_every_switch_of_the_quirky_server_is_used() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (TESTS / "sync" / "quirks").glob("test_*.py"))
    assert not [quirk.name for quirk in Quirk if f"Quirk.{quirk.name}" not in sources]
    for quirk in Quirk:
        assert any("sync/quirks/" in test for test in QUIRKS[row_of(quirk)]), quirk


def test_every_field_of_a_profile_is_read() -> None:
    """No knob that does nothing (field note 56)."""
    sources = "".join(
        path.read_text(encoding="utf-8")
        for package in ("sync", "imapped_site")
        for path in (ROOT / package).rglob("*.py")
        if path != ROOT / "sync" / "profiles.py"
    )
    names = {field.name for field in fields(Profile)} - {"name", "title", "hosts", "says"}
    assert not [name for name in sorted(names) if f"profile.{name}" not in sources]
