"""The long proofs: `make test` runs a sample of each, `make prove` all of it and keeps what it found here."""

from __future__ import annotations

import os
import re
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

PROVING = bool(os.environ.get("IMAPPED_PROVE"))
_ONLY = os.environ.get("IMAPPED_PROVE_ONLY", "")


def scaled(sample: int, *, full: int) -> int:
    """Return how much to do: ``full`` under `make prove`, else ``sample``."""
    return full if PROVING else sample


def keep_results(name: str, lines: Iterable[str]) -> None:
    """Write what a whole proof found, under `make prove`, to ``tests/proofs/<name>.txt``, which is committed."""
    if PROVING and not _ONLY:
        text = "".join(f"{line}\n" for line in lines)
        path = Path(__file__).parent / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def has_time_left(began: float) -> bool:
    """Tell whether a long proof that began then (monotonic clock) may go on.

    IMAPPED_PROVE_MINUTES ends one early, for machines that are not to be had for hours; what it did is what it reports.
    """
    minutes = os.environ.get("IMAPPED_PROVE_MINUTES")
    return not minutes or time.monotonic() - began < 60 * float(minutes)


def try_each(numbers: Iterable[int], attempt: Callable[[int], None]) -> tuple[int, dict[int, str]]:
    """Try all of a part of a long proof, also after one failed, and while there is time.

    Returns how many were tried, and of those that failed how. IMAPPED_PROVE_ONLY names some to be tried alone: "7,42".
    """
    began, count, failed = time.monotonic(), 0, dict[int, str]()
    if _ONLY:
        numbers = sorted(set(map(int, _ONLY.split(","))).intersection(numbers))
    for number in numbers:
        if not has_time_left(began):
            break
        count += 1
        try:
            attempt(number)
        except Exception:  # noqa: BLE001 - whatever it is, the test fails with it when all were tried
            failed[number] = traceback.format_exc()
    return count, failed


def in_a_line(number: int, how: str) -> str:
    """Return how an attempt failed, in what its traceback ends with."""
    error = re.split(r"^(?=[\w.]+(?:Error|Exception|Lost|Failed)\b)", how, flags=re.MULTILINE)[-1]
    return f"{number} failed: {' | '.join(error.splitlines())[:2000]}"
