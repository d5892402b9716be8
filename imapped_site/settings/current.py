"""The one Reader of this process, shared by the settings modules beside it."""

from __future__ import annotations

import os
from pathlib import Path

from imapped_site.settings.reader import Reader
from imapped_site.settings.sources import (
    BASE_DIR,
    EMBEDDED_ORIGIN,
    Source,
    process_environment,
    read_env_file,
    read_toml_file,
)


def _data_dir(sources: list[Source]) -> Path:
    for source in sources:
        if source.get("DATA_DIR"):
            return (BASE_DIR / Path(source["DATA_DIR"]).expanduser()).absolute()
    return BASE_DIR / "data"


def build_reader() -> Reader:
    """Put the sources in order: environment, ``.env``, TOML file, embedded servers that run now.

    With ``APP_ENV=test`` only the environment counts, so that tests do not depend on a developer's files.
    """
    sources = [process_environment()]
    if os.environ.get("APP_ENV") == "test":
        return Reader(sources)
    faults: list[str] = []
    sources.append(read_env_file(BASE_DIR / ".env"))
    config_path = next((source["APP_CONFIG_PATH"] for source in sources if source.get("APP_CONFIG_PATH")), None)
    toml = read_toml_file(Path(config_path), faults) if config_path else None
    if toml is not None:
        sources.append(toml)
    running = read_env_file(_data_dir(sources) / "run" / "embedded.env")
    sources.append(Source(EMBEDDED_ORIGIN, running))
    return Reader(sources, faults=faults, known_only=toml)


read = build_reader()
