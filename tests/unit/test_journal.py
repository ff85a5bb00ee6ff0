from __future__ import annotations

from pathlib import Path

import pytest

from polis.events import PhaseCompleted, PhaseProgress, PhaseStarted
from polis.journal import FILE, Journal
from polis.phase import Phase


def test_what_was_written_is_read_back_without_mere_progress(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.take(PhaseStarted(phase=Phase.LAUNCHED))
    journal.take(PhaseProgress(phase=Phase.LAUNCHED, detail="booting"))
    journal.take(PhaseCompleted(phase=Phase.LAUNCHED, duration_s=2.0))
    assert [entry["event"] for entry in journal.read()] == ["phase.started", "phase.completed"]


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_torn_last_line_is_ignored_and_does_not_spoil_the_next(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path)
    journal.take(PhaseStarted(phase=Phase.LAUNCHED))
    journal.take(PhaseCompleted(phase=Phase.LAUNCHED, duration_s=2.0))
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-cut])
    journal.take(PhaseStarted(phase=Phase.CONFIGURED))
    events = list(journal.read())
    assert events[0]["phase"] == "launched"
    assert events[-1]["phase"] == "configured"


def test_a_journal_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "missing")
    journal.take(PhaseStarted(phase=Phase.LAUNCHED))
    assert list(journal.read()) == []
