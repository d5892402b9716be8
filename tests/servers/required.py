"""Server programs that tests need: skipped at a desk that lacks one, failed in CI, where none may be missing."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def required_program(name: str, package: str) -> str:
    """Return the path of a program of a Debian package."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        lacking(f"{name} is not installed (Debian: apt-get install {package})")
    return path


def lacking(message: str) -> NoReturn:
    """Skip the test that needs what is missing; in CI it fails."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
