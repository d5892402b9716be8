"""Where a setting's raw text comes from: the environment, ``.env``, a TOML file, or the embedded servers that run."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import environ

BASE_DIR = Path(__file__).resolve().parents[2]
EMBEDDED_ORIGIN = "embedded servers"


@dataclass(frozen=True, slots=True)
class Raw:
    """The text of one setting and the name of the place it was found in."""

    text: str = field(repr=False)
    origin: str


class Source(Mapping[str, str]):
    """One place that holds settings by name; remembers which names were asked for, to tell typing errors later."""

    def __init__(self, origin: str, values: Mapping[str, str]) -> None:
        self.origin = origin
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def read_env_file(path: Path) -> Source:
    """Read ``NAME=value`` lines by django-environ's rules; a missing file is an empty source."""

    values: dict[str, str] = {}
    if path.is_file():
        reader: Any = type("FileValues", (environ.Env,), {"ENVIRON": values})
        reader.read_env(path)
    return Source(path.name, values)


def read_toml_file(path: Path, faults: list[str]) -> Source:
    """Read a flat TOML file whose keys are setting names in either case; what is wrong with it is added to *faults*."""
    origin = f"file {path}"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        faults.append(f"APP_CONFIG_PATH: cannot read {path}: {error}")
        return Source(origin, {})
    values: dict[str, str] = {}
    for key, value in document.items():
        if isinstance(value, bool):
            values[key.upper()] = "true" if value else "false"
        elif isinstance(value, str | int):
            values[key.upper()] = str(value)
        else:
            faults.append(f"{key}: {origin} holds a {type(value).__name__}; settings are strings, numbers or booleans")
    return Source(origin, values)


def process_environment() -> Source:
    """The environment variables of this process."""
    return Source("environment", dict(os.environ))
