"""No secret leaves by any way out: events, the journal, the record, errors on either stream."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polis import events, redaction
from polis.cli import output
from polis.errors import ProvisioningFailed
from polis.journal import Journal
from polis.phase import Phase
from polis.record import Record
from polis.store import Store

SECRET = "hunter2-hunter2"
KEY = "sk-line-one\nsk-line-two"


@pytest.fixture(autouse=True)
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_hidden", set())
    redaction.hide([SECRET, KEY])


def problem() -> ProvisioningFailed:
    error = ProvisioningFailed(f"said {SECRET}", cause=f"first\n{KEY}", hint=f"try {SECRET}", remains=f"{SECRET} is up")
    error.phase = Phase.RUNNING
    return error


def assert_clean(text: str) -> None:
    assert SECRET not in text
    assert "sk-line" not in text
    assert redaction.STRUCK in text


def test_each_line_of_a_secret_is_struck_out() -> None:
    assert redaction.redact("a sk-line-two b") == "a [redacted] b"


def test_a_secret_that_is_part_of_another_does_not_leave_its_rest() -> None:
    redaction.hide([SECRET + "-and-more"])
    assert redaction.redact(SECRET + "-and-more") == redaction.STRUCK


def test_short_words_are_no_secrets() -> None:
    redaction.hide(["true", "", " \n "])
    assert redaction.redact("true is true") == "true is true"


def test_an_event_reaches_its_sinks_without_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    stream = events.Stream([journal])
    stream.emit(events.PhaseFailed(phase=Phase.RUNNING, kind="x", message=f"it said {SECRET}"))
    stream.emit(
        events.CommandEnded(
            command="up", outcome="failed", exit_code=70, duration_s=1.0, error={"cause": [SECRET, {"deep": KEY}]}
        )
    )
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert_clean(written)
    assert len(written.splitlines()) == 2


def test_the_record_of_a_failure_has_none(tmp_path: Path) -> None:
    store, record = Store(tmp_path), Record(workspace="polis", driver="qemu", instance="polis")
    record.fail(problem())
    store.save(record)
    assert_clean((tmp_path / "state.json").read_text())


def test_an_error_is_shown_without_it(capsys: pytest.CaptureFixture[str]) -> None:
    output.error(problem())
    output.document({"error": events.describe(problem())})
    shown = capsys.readouterr()
    assert_clean(shown.err)
    assert_clean(shown.out)
    assert json.loads(shown.out)["error"]["phase"] == "running"


def test_the_error_itself_stays_as_it_is() -> None:
    error = problem()
    output.error(error)
    assert SECRET in error.message
