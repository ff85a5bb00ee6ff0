from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from polis.errors import HostUnsuitable
from polis.events import PhaseCompleted, PhaseProgress, PhaseStarted
from polis.journal import FILE, LINE_LIMIT, Journal
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


def test_what_no_event_of_ours_can_be_is_passed_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.take(PhaseStarted(phase=Phase.LAUNCHED))
    with (tmp_path / FILE).open("ab") as file:
        file.write(
            b"\0" * 4096 + b"\n" + b"[" * 100_000 + b"\n" + b"[1]\n\n\xff\xfe\n" + b"x" * (3 * LINE_LIMIT) + b"\n"
        )
    journal.take(PhaseCompleted(phase=Phase.LAUNCHED, duration_s=2.0))
    with (tmp_path / FILE).open("ab") as file:
        file.write(b"x" * LINE_LIMIT)
    assert [entry["event"] for entry in journal.read()] == ["phase.started", "phase.completed"]


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_the_end_of_a_line_that_is_too_long_is_no_event(tmp_path: Path, more: int) -> None:
    lines = [b'{"event":"first"}', b"x" * (LINE_LIMIT + more) + b'{"event":"end"}', b'{"event":"last"}', b""]
    (tmp_path / FILE).write_bytes(b"\n".join(lines))
    assert [entry["event"] for entry in Journal(tmp_path).read()] == ["first", "last"]


def test_reading_needs_no_more_memory_for_a_longer_journal(tmp_path: Path) -> None:
    line = b'{"event":"warning","message":"%s"}\n' % (b"x" * 1000)
    (tmp_path / FILE).write_bytes(line * 4000)
    tracemalloc.start()
    assert sum(1 for _ in Journal(tmp_path).read()) == 4000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_journal_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(HostUnsuitable):
        list(Journal(tmp_path).read())
