"""The generation table shows one process what another committed."""

from __future__ import annotations

import os
from pathlib import Path

from mailcache.generations import GenerationTable


def test_another_mapping_sees_a_bump(tmp_path: Path) -> None:
    writer = GenerationTable(tmp_path / "run" / "generations")
    reader = GenerationTable(tmp_path / "run" / "generations")
    before = reader.read(42), reader.read(43)

    writer.bump(42)

    assert reader.read(42) != before[0]
    assert reader.read(43) == before[1]


def test_another_process_sees_a_bump(tmp_path: Path) -> None:
    table = GenerationTable(tmp_path / "generations")
    before = table.read(7)
    child = os.fork()
    if child == 0:
        GenerationTable(tmp_path / "generations").bump(7)
        os._exit(0)
    os.waitpid(child, 0)

    assert table.read(7) != before


def test_the_table_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    GenerationTable(tmp_path / "generations")

    assert (tmp_path / "generations").stat().st_mode & 0o077 == 0
