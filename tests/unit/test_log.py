"""The log of a workspace: what is written, when, and what never is."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from polis import __main__, assembly, events, log, paths, redaction
from polis.errors import RegistryUnavailable
from polis.phase import Phase
from tests.simulated import SimulatedDriver
from tests.typed import Terminal

SECRET = "hunter2-hunter2"


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    driver = SimulatedDriver(path=tmp_path / "world.json")
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: driver)
    monkeypatch.setattr(redaction, "_hidden", set())
    monkeypatch.setenv("POLIS_RETRY", "{attempts: 2, base: 0.001, cap: 0.001}")
    return Terminal(driver)


def path_of_log() -> Path:
    return paths.find().workspace("polis") / log.FILE


def entries(path: Path | None = None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path or path_of_log()).read_text().splitlines()]


def started(run: log.RunLog) -> None:
    run.take(events.CommandStarted(command="up", target=Phase.HEALTHY))


def warn(run: log.RunLog, text: str) -> None:
    run.take(events.Warned(message=text))


def test_a_changing_command_is_in_the_log_from_beginning_to_end(terminal: Terminal) -> None:
    assert terminal.type("up").exit_code == 0
    found = entries()
    assert {entry["command"] for entry in found} == {"up"}
    assert len({entry["run"] for entry in found}) == 1
    names = [entry["event"] for entry in found]
    assert names[-1] == "command.ended"
    assert names.count("phase.completed") == 5
    assert names.index("command.started") < names.index("driver.called") < names.index("phase.started")
    assert list(found[0])[:6] == ["at", "level", "event", "run", "command", "pid"]


def test_each_driver_call_is_in_it_with_duration_and_outcome_but_not_its_arguments(terminal: Terminal) -> None:
    terminal.type("up")
    calls = [entry for entry in entries() if entry["event"] == "driver.called"]
    ended = [entry for entry in calls if entry["duration_s"] is not None]
    assert len(calls) == 2 * len(ended)
    told = {(entry["call"], entry["words"], entry["outcome"]) for entry in ended}
    assert ("exec", "polis placing.place", "done") in told
    assert ("find", "polis", "done") in told
    assert not [entry for entry in calls if "python3" in json.dumps(entry)]


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_only_its_owner_can_read_it(terminal: Terminal) -> None:
    terminal.type("up")
    assert path_of_log().stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("line", ["status", "plan", "history", "logs --polis"])
def test_a_reading_command_that_succeeds_writes_nothing(terminal: Terminal, line: str) -> None:
    terminal.type("up")
    before = path_of_log().read_bytes()
    assert terminal.type(line).exit_code == 0
    assert path_of_log().read_bytes() == before


def test_a_reading_command_that_fails_is_written_with_what_it_did(terminal: Terminal) -> None:
    terminal.type("up --to launched")
    before = len(entries())
    assert terminal.type("bundle lock").exit_code == 3
    added = entries()[before:]
    assert [entry["event"] for entry in added][-1] == "error"
    assert added[-1]["error"]["kind"] == "changes-pending"
    assert {entry["command"] for entry in added} == {"bundle lock"}
    assert "driver.called" in [entry["event"] for entry in added]


def test_what_a_reading_command_meets_waits_for_its_failure_and_only_so_much_of_it(tmp_path: Path) -> None:
    (tmp_path / log.FILE).touch()
    run = log.begin(tmp_path, "plan")
    for number in range(log.WAITING + 10):
        warn(run, f"number {number}")
    assert (tmp_path / log.FILE).read_bytes() == b""
    assert not run.is_written
    run.failed(RegistryUnavailable("no"))
    found = entries(run.path)
    assert [found[0]["message"], found[-1]["event"], len(found)] == ["number 10", "error", log.WAITING + 1]


@pytest.mark.parametrize("line", ["history", "logs", "logs --polis"])
def test_a_reading_command_that_finds_no_workspace_leaves_nothing_behind(terminal: Terminal, line: str) -> None:
    assert terminal.type(line).exit_code == 4
    assert not paths.find().workspaces.exists()


def test_a_failure_leads_to_the_log_and_the_log_tells_it(terminal: Terminal) -> None:
    terminal.driver.refuse_pull = {"polis-gate": "received unexpected HTTP status: 503 Service Unavailable"}
    result = terminal.type("up")
    assert result.stderr.splitlines()[-1] == f"log: {path_of_log()}"
    error = next(entry for entry in entries() if entry["event"] == "error")
    assert (error["level"], error["error"]["phase"]) == ("error", "images-pulled")
    assert "503" in error["error"]["cause"]


def test_a_reading_command_s_failure_does_not_send_the_user_to_the_log(terminal: Terminal) -> None:
    terminal.type("up --to launched")
    assert "log:" not in terminal.type("bundle lock").stderr


def test_deleting_the_workspace_takes_the_log_with_it(terminal: Terminal) -> None:
    terminal.type("up")
    assert terminal.type("delete -y").exit_code == 0
    assert not paths.find().workspace("polis").exists()


def test_a_command_that_finds_nothing_to_do_is_logged_without_the_library(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.type("up")
    before = len(entries())
    monkeypatch.setitem(sys.modules, "structlog", None)  # importing it is an ImportError now
    assert terminal.type("up").exit_code == 0
    added = entries()[before:]
    assert [entry["event"] for entry in added][-1] == "command.ended"
    assert {tuple(entry)[:6] for entry in added} == {("at", "level", "event", "run", "command", "pid")}


def test_status_imports_no_logging_library(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.type("up")
    monkeypatch.setitem(sys.modules, "structlog", None)
    assert terminal.type("status").exit_code == 0


def test_a_bug_is_written_with_its_traceback_and_told_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redaction, "_hidden", {SECRET})
    run = log.begin(tmp_path, "up")
    started(run)
    with pytest.raises(ValueError, match="hunter2") as caught:
        int(f"of {SECRET}")
    __main__._confess(caught.value, verbose=0)
    entry = entries(run.path)[-1]
    assert entry["event"] == "bug"
    assert "test_log.py" in entry["traceback"]
    assert "Traceback" in entry["traceback"]
    told = capsys.readouterr().err
    assert f"log: {run.path}" in told
    assert SECRET not in told + run.path.read_text()


def test_secrets_are_struck_out_before_a_text_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_hidden", {SECRET})
    run = log.begin(tmp_path, "up")
    started(run)
    warn(run, "x" * (log.TEXT_LIMIT - 5) + SECRET + "y" * 100)
    run.failed(RegistryUnavailable("no", cause=f"it said {SECRET}"))
    written = run.path.read_text()
    assert SECRET[:5] not in written
    assert redaction.STRUCK[:5] in written
    assert len(entries(run.path)[1]["message"]) == log.TEXT_LIMIT + 1


def test_a_line_is_never_longer_than_its_limit(tmp_path: Path) -> None:
    run = log.begin(tmp_path, "up")
    started(run)
    stages = tuple({"name": "é" * 3900, "start_s": 0.0, "end_s": 1.0} for _ in range(100))
    run.take(events.GuestStages(phase=Phase.LAUNCHED, uptime_s=1.0, stages=stages))
    longest = max(len(line) for line in run.path.read_bytes().splitlines())
    assert longest <= log.LINE_LIMIT
    assert entries(run.path)[-1]["cut"] is True


def test_a_large_file_is_set_aside_and_three_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "SIZE", 1000)
    run = log.begin(tmp_path, "up")
    started(run)
    for number in range(60):
        warn(run, f"number {number} {'.' * 100}")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [log.FILE, *(f"{log.FILE}.{number}" for number in (1, 2, 3))]
    told = [entry["message"].split()[1] for name in (*names[:0:-1], names[0]) for entry in entries(tmp_path / name)]
    assert told == [str(number) for number in range(60)][-len(told) :]
    assert len(told) > 12


def test_one_who_only_reads_appends_to_the_holder_s_file_and_never_sets_it_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SIZE", 1000)
    holder, reader = log.begin(tmp_path, "up"), log.begin(tmp_path, "status")
    reader.failed(RegistryUnavailable("before there was a log"))
    assert not list(tmp_path.iterdir())
    started(holder)
    for _ in range(4):
        warn(holder, "." * 200)
        reader.failed(RegistryUnavailable("." * 600))
    files = sorted(tmp_path.iterdir())
    commands = [entry["command"] for path in files for entry in entries(path)]
    assert commands.count("up") == 5
    assert commands.count("status") == 4
    before = holder.path.read_bytes()
    assert holder.path.stat().st_size > log.SIZE
    reader.failed(RegistryUnavailable("of a file that is too large"))
    assert holder.path.read_bytes().startswith(before)


def test_a_log_of_a_workspace_that_is_gone_does_not_come_back(tmp_path: Path) -> None:
    run = log.begin(tmp_path, "delete")
    started(run)
    warn(run, "one")
    run.path.unlink()
    warn(run, "two")
    assert not run.path.exists()


def test_a_log_that_cannot_be_written_stops_nothing(terminal: Terminal) -> None:
    terminal.type("up --to launched")
    path_of_log().unlink()
    path_of_log().mkdir()
    assert terminal.type("up").exit_code == 0
    terminal.driver.in_vain = {"watch"}
    assert "log:" not in terminal.type("reset --to nonsense").stderr


def test_no_journal_keeps_driver_calls(terminal: Terminal) -> None:
    terminal.type("up -v")
    assert "driver.called" not in (paths.find().workspace("polis") / "journal.jsonl").read_text()


def test_verbose_tells_calls_as_they_begin_and_end(terminal: Terminal) -> None:
    told = terminal.type("up -v").stderr.splitlines()
    begun = next(index for index, line in enumerate(told) if "exec (polis placing.place): begun" in line)
    ended = next(index for index, line in enumerate(told) if "exec (polis placing.place): done in " in line)
    assert begun < ended
    assert "(polis placing.place)" not in terminal.type("up").stderr


def test_the_stream_for_scripts_has_driver_calls_only_with_verbose(terminal: Terminal) -> None:
    plain = terminal.type("up --json").stdout
    assert "driver.called" not in plain
    verbose = [json.loads(line)["event"] for line in terminal.type("up --json -v").stdout.splitlines()]
    assert verbose.count("driver.called") == 4
    assert verbose[-1] == "result"


def test_of_a_traceback_no_half_secret_is_left_where_it_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_hidden", {SECRET})
    run = log.begin(tmp_path, "up")
    started(run)
    end = "y" * (log.TRACEBACK_LIMIT - len(SECRET) // 2 - 1)  # and the newline behind it
    run.broke(ValueError(SECRET + end))
    told = entries(run.path)[-1]["traceback"]
    assert SECRET[-5:] not in told
    assert len(told) == log.TRACEBACK_LIMIT


def test_who_gave_the_lock_back_no_longer_owns_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "SIZE", 100)
    run = log.begin(tmp_path, "up")
    started(run)
    warn(run, "." * 200)
    run.take(events.CommandEnded(command="up", outcome="failed", exit_code=75, duration_s=1.0))
    kept = sorted(path.name for path in tmp_path.iterdir())
    run.failed(RegistryUnavailable("no"))
    assert sorted(path.name for path in tmp_path.iterdir()) == kept, "another may be writing it: it is not set aside"
    assert entries(run.path)[-1]["event"] == "error"


@pytest.mark.skipif(os.name != "posix", reason="elsewhere there is no reading at a place")
def test_a_line_is_not_glued_to_one_that_was_torn(tmp_path: Path) -> None:
    (tmp_path / log.FILE).write_text('{"event": "torn')
    run = log.begin(tmp_path, "up")
    started(run)
    warn(run, "whole")
    first, *rest = run.path.read_text().splitlines()
    assert first == '{"event": "torn'
    assert [json.loads(line)["event"] for line in rest] == ["command.started", "warning"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["sudo", "-n", "python3", "-I", "-c", "code", "placing", "place", '{"key": "k"}'], "polis placing.place"),
        (["curl", "-H", SECRET], "curl and 2 more words"),
        (["true"], "true"),
        ([f"PGPASSWORD={SECRET} psql"], "a command and 1 more words"),
        ([f"curl -H {SECRET}", SECRET], "curl and 3 more words"),
        ([f"KEY={SECRET}"], "a command"),
        ([" "], "a command"),
        ([], "a shell"),
        (["sudo", "-n", "python3", "-I", "-c", SECRET], "sudo and 5 more words"),
    ],
)
def test_a_guest_command_is_told_without_its_arguments(argv: list[str], words: str) -> None:
    from polis.drivers.metered import described

    assert described(argv) == words
