"""The figures of all crash tests, as one table at the end of the run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.stage import Stage

Tell = Callable[..., None]

COLUMNS = ("scenario", "points", "tried", "passed")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("POLIS_HOME", "")  # put back at the end, whatever the stage sets
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # the platter decides what is safe, not this disk
    return Stage(tmp_path)


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Return what puts a row into the table."""

    def row(scenario: str, *, points: int, tried: int, passed: int) -> None:
        record_property("crash-table", (scenario, points, tried, passed))

    return row


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "crash-table" and report.when == "call"
    ]
    if not rows:
        return
    terminalreporter.section("crash points")
    terminalreporter.write_line("{:<58}{:>8}{:>8}{:>8}".format(*COLUMNS))
    for row in rows:
        terminalreporter.write_line("{:<58}{:>8}{:>8}{:>8}".format(*row))
    tried, passed = (sum(row[column] for row in rows) for column in (2, 3))
    terminalreporter.write_line(f"{'all':<58}{'':>8}{tried:>8}{passed:>8}")
