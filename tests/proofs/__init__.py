"""The long proofs: `make test` runs a sample of each, `make prove` all of it and keeps what it found here."""

from __future__ import annotations

import os
import re
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import starmap
from pathlib import Path
from typing import Protocol

from tests.fakes.chaos_proxy import Kind

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


class Tally(Protocol):
    """Tries what a proof has many of, by number, and counts what happened."""

    faults: Counter[Kind]

    def attempt(self, number: int) -> None:
        """Try one."""

    def lines(self) -> list[str]:
        """Return the counts in words."""


def prove_part(
    name: str, part: int, parts: int, count: int, tally: Tally, *, what: str, ended: str, report: Callable[[str], None]
) -> None:
    """Try every ``parts``-th of ``count`` from ``part`` on, keep and ``report`` the results; fails when one did.

    ``what`` they are, and how they ``ended`` that did not fail, in words.
    """
    began = time.monotonic()
    tried, failed = try_each(range(part, count, parts), tally.attempt)
    told = f"{tried} {what}, part {part + 1} of {parts}: {tried - len(failed)} ended {ended}"
    keep_results(f"{name}/{part + 1:02}", [told, *starmap(in_a_line, failed.items()), *tally.lines()])
    report(f"{told}, {tally.faults.total()} faults, {time.monotonic() - began:.0f} s")
    assert not failed, "\n".join(f"history {number}: {how}" for number, how in failed.items())


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
