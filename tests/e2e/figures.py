"""Figures that tests report without asserting them: shown at the end of the session."""

from __future__ import annotations

from collections.abc import Callable

import pytest

_KEY = "figure"

Report = Callable[[str], None]


@pytest.fixture
def report_figure(record_property: Callable[[str, object], None]) -> Report:
    """A function that takes one line of text about what was measured."""
    return lambda text: record_property(_KEY, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures; xdist brings them from its workers with the reports."""
    lines = [
        f"{report.nodeid}: {value}"
        for report in terminalreporter.stats.get("passed", [])
        for key, value in report.user_properties
        if key == _KEY and report.when == "call"
    ]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)
