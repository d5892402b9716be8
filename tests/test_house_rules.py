"""The house rules that a machine can check: sizes, ignores with a reason, one place for everything."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("imapped_site", "imapfront", "sync", "search", "mailcache", "tests")
LONGEST_FILE = 399
LONGEST_FUNCTION = 59
TOP_LEVEL = {
    ".ci", ".env.example", ".gitignore", "LICENSE", "Makefile", "README.md", "docker", "imapfront", "imapped_site",
    "mailcache", "manage.py", "pyproject.toml", "requirements", "search", "sync", "tests",
}  # fmt: skip


def sources() -> Iterator[Path]:
    """Every file that somebody wrote by hand."""
    yield ROOT / "manage.py"
    for package in PACKAGES:
        yield from (path for path in sorted((ROOT / package).rglob("*.py")) if "migrations" not in path.parts)


def test_files_are_short() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert not {name: length for name, length in lengths.items() if length > LONGEST_FILE}


def test_functions_are_short() -> None:
    long: list[str] = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                length = node.end_lineno - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {length} lines")
    assert not long


def test_every_ignore_has_a_code_and_a_reason() -> None:
    """``# type: ignore[code] # reason`` and ``# noqa: CODE - reason``; star imports of settings explain themselves."""
    bare: list[str] = []
    for path in sources():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            ignored = re.search(r"#\s*type:\s*ignore(.*)", line)
            silenced = re.search(r"#\s*noqa(.*)", line)
            if ignored and not re.match(r"\[[a-z, -]+\]\s*# .{5,}", ignored[1]):
                bare.append(f"{path.relative_to(ROOT)}:{number}")
            if silenced and not re.match(r": (F403$|[A-Z]+\d+(, ?[A-Z]+\d+)* - .{5,})", silenced[1]):
                bare.append(f"{path.relative_to(ROOT)}:{number}")
    own = str(Path(__file__).relative_to(ROOT))
    assert not [place for place in bare if not place.startswith(own)]


def test_no_unfinished_work_is_left_in_the_code() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    assert not found


def test_the_top_level_holds_what_the_design_names() -> None:
    run = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        pytest.skip("not a git checkout")
    assert {name.split("/")[0] for name in run.stdout.splitlines()} <= TOP_LEVEL


def test_packages_tell_what_they_own() -> None:
    for package in PACKAGES[:-1]:
        tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), package
