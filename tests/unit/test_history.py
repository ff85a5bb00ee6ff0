"""What `polis history` makes of a journal, whatever is in it."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polis import assembly, history
from polis.errors import GuestUnreachable
from polis.events import timestamp
from polis.history import Run, runs, summarise
from polis.journal import FILE
from tests import typed
from tests.simulated import SimulatedDriver, guest
from tests.unit.test_pictures import parsed

NOBODY = 2**31 - 2
"""A process id that no kernel gives out."""

AT = "2026-11-03T10:00:00.500Z"


@dataclass
class Terminal(typed.Terminal):
    """Also reads and writes the journal."""

    journal: Path

    def runs(self, options: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.document(f"history --json {options}")["runs"]
        return found

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.read_text(encoding="utf-8").splitlines()]

    def write(self, *entries: dict[str, Any]) -> None:
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        self.journal.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


@pytest.fixture
def terminal(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    driver = SimulatedDriver(path=tmp_path / "world.json")
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: driver)
    monkeypatch.setenv("POLIS_RETRY", "{attempts: 3, base: 0.001, cap: 0.001}")
    return Terminal(driver, home / "config" / "workspaces" / "polis" / FILE)


def begin(command: str = "up", target: str = "healthy", *, pid: int = NOBODY, at: str = AT) -> dict[str, Any]:
    return {"event": "command.started", "at": at, "command": command, "target": target, "pid": pid}


def end(command: str = "up", outcome: str = "done", code: int = 0, **values: Any) -> dict[str, Any]:
    usual = {"duration_s": 9.5, "phase": "healthy", "error": None}
    event = {"event": "command.ended", "at": AT, "command": command, "outcome": outcome, "exit_code": code}
    return {**event, **usual, **values}


def of(event: str, phase: str = "launched", **values: Any) -> dict[str, Any]:
    return {"event": event, "at": AT, "phase": phase, **values}


# ---- from entries to runs


def test_a_command_is_told_with_outcome_exit_code_duration_and_phases() -> None:
    (run,) = runs(
        [
            begin(),
            of("phase.skipped"),
            of("phase.started", "configured", attempt=2),
            of("phase.completed", "configured", duration_s=1.25),
            end(phase="configured"),
        ]
    )
    assert (run.command, run.target, run.started_at, run.pid) == ("up", "healthy", AT, NOBODY)
    assert (run.outcome, run.exit_code, run.duration_s, run.phase) == ("done", 0, 9.5, "configured")
    told = [(part.phase, part.outcome, part.duration_s, part.attempts) for part in run.phases]
    assert told == [("launched", "holds", None, 0), ("configured", "completed", 1.25, 2)]


def test_a_failure_is_told_with_its_retries_and_reason() -> None:
    retry = {"attempts": 3, "delay_s": 0.1}
    error = {"phase": "images-pulled", "kind": "registry-unavailable", "message": "cannot pull", "attempts": 3}
    (run,) = runs(
        [
            begin(),
            of("phase.started", "images-pulled", attempt=1),
            of("phase.retry", "images-pulled", reason="503", attempt=1, **retry),
            of("phase.retry", "images-pulled", reason="timeout", attempt=2, **retry),
            of("phase.failed", "images-pulled", kind="registry-unavailable", message="cannot pull: 503"),
            end(outcome="failed", code=75, error=error),
        ]
    )
    (part,) = run.phases
    assert (part.outcome, part.attempts, part.retries) == ("failed", 1, 2)
    assert (part.retry_reason, part.reason) == ("timeout", "cannot pull: 503")
    assert run.error is not None
    assert (run.error["message"], run.error["attempts"], run.error["retryable"]) == ("cannot pull", 3, False)


def test_an_interrupted_phase_did_not_fail() -> None:
    (run,) = runs(
        [
            begin(),
            of("phase.started", attempt=1),
            of("phase.failed", kind="interrupted", message="interrupted on the way to launched"),
            end(outcome="interrupted", code=130),
        ]
    )
    assert (run.outcome, run.phases[0].outcome) == ("interrupted", "interrupted")


def test_drift_belongs_to_the_phase_that_was_lost() -> None:
    lost = of("drift", "running", reason="gate is not running")
    mended, watched = runs(
        [
            begin(),
            lost,
            of("phase.started", "running", attempt=1),
            of("phase.completed", "running", duration_s=2.0),
            end(),
            begin(),
            lost,
            end(),
        ]
    )
    assert [(part.outcome, part.drift) for part in mended.phases] == [("completed", "gate is not running")]
    assert [(part.outcome, part.drift) for part in watched.phases] == [("drifted", "gate is not running")]


def test_what_was_left_and_entered_again_has_two_parts() -> None:
    (run,) = runs(
        [
            begin(),
            of("phase.left", duration_s=3.0),
            of("phase.started", attempt=1),
            of("phase.completed", duration_s=60.0),
            end(),
        ]
    )
    assert [(part.outcome, part.duration_s) for part in run.phases] == [("left", 3.0), ("completed", 60.0)]


def test_a_command_whose_process_died_was_broken_off_and_so_was_its_phase() -> None:
    killed, after = runs([begin(), of("phase.started", attempt=1), begin("reset", "absent"), end("reset")])
    assert (killed.outcome, killed.exit_code, killed.duration_s) == ("broken-off", None, None)
    assert [part.outcome for part in killed.phases] == ["broken-off"]
    assert after.outcome == "done"


def test_the_end_of_another_command_ends_nothing() -> None:
    (run,) = runs([begin(), end("reset")])
    assert run.outcome == "broken-off"


def test_durations_do_not_depend_on_the_clock() -> None:
    earlier = "2020-01-01T00:00:00.000Z"
    (run,) = runs([begin(), of("phase.completed", duration_s=2.0) | {"at": earlier}, end(duration_s=3.0, at=earlier)])
    assert (run.duration_s, run.phases[0].duration_s) == (3.0, 2.0)


@pytest.mark.parametrize(
    ("last", "outcome"),
    [
        (of("phase.completed", "healthy", duration_s=1.0), "done"),
        (of("phase.skipped", "healthy"), "done"),
        (of("phase.left", duration_s=1.0), "done"),
        (of("phase.failed", kind="transient", message="no"), "failed"),
        (of("phase.completed", "configured", duration_s=1.0), "broken-off"),
        (of("phase.started", "configured"), "broken-off"),
    ],
)
def test_a_journal_without_ends_and_pids_tells_what_its_phases_tell(last: dict[str, Any], outcome: str) -> None:
    old = {key: value for key, value in begin().items() if key != "pid"}
    assert [run.outcome for run in runs([old, last, old])] == [outcome, "broken-off"]
    assert runs([begin(), last, begin()])[0].outcome == "broken-off"


@pytest.mark.parametrize(
    "damaged",
    [
        [of("phase.started")],
        [begin() | {"command": None}, of("phase.started")],
        [end()],
        [{}],
        ["text", 7, None, [1]],
        [{"event": ["phase.started"], "phase": "launched"}],
    ],
)
def test_what_belongs_to_no_command_is_passed_over(damaged: list[Any]) -> None:
    assert runs(damaged) == ()


@pytest.mark.parametrize("figure", [-1, True, "1", None, [], float("nan"), float("inf"), 10**400])
def test_a_figure_that_is_none_is_unknown(figure: object) -> None:
    (run,) = runs(
        [
            begin() | {"pid": figure},
            of("phase.started", attempt=figure),
            of("phase.completed", duration_s=figure),
            end(duration_s=figure, exit_code=figure),
        ]
    )
    assert (run.pid, run.exit_code, run.duration_s) == (None, None, None)
    assert (run.phases[0].duration_s, run.phases[0].attempts) == (None, 1)


def test_half_a_character_can_be_printed(terminal: Terminal) -> None:
    terminal.write(begin(), of("phase.failed", kind="transient", message="\ud83d!"), end(outcome="failed", code=75))
    assert terminal.runs()[0]["phases"][0]["reason"] == "?!"


KINDS = [
    "command.started", "command.ended", "phase.started", "phase.completed", "phase.skipped", "phase.left",
    "phase.failed", "phase.retry", "drift", "warning", "of tomorrow",
]  # fmt: skip
KEYS = [
    "at", "command", "target", "pid", "outcome", "exit_code", "duration_s", "phase", "error", "attempt", "kind",
    "message", "reason",
]  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(exclude_categories=()), max_size=5),
    st.sampled_from(["up", "done", "failed", "launched", "healthy", "absent", AT]),
)  # fmt: skip
VALUES = st.one_of(LEAVES, st.lists(LEAVES, max_size=2), st.dictionaries(st.sampled_from(KEYS), LEAVES, max_size=5))
ENTRIES = st.builds(
    lambda kind, values: {"event": kind, **values},
    st.one_of(st.sampled_from(KINDS), VALUES),
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8),
)


@given(st.lists(ENTRIES, max_size=12))
def test_no_journal_whatsoever_is_too_strange_to_be_told(entries: list[dict[str, Any]]) -> None:
    from polis.cli.history import render

    found = runs([begin(), *entries])
    history.mark_at_work(found)
    summary = summarise(found)
    assert render(found, len(found), summary)
    strict = json.dumps([run.document() for run in found], allow_nan=False, ensure_ascii=False)
    assert strict.encode()
    assert all(phase.entered >= phase.failed for phase in summary)


def test_the_summary_counts_and_takes_the_median_of_what_succeeded() -> None:
    entered = [("completed", 1.0), ("completed", 9.0), ("completed", 3.0), ("completed", 4.0), ("failed", None)]
    found = []
    for outcome, seconds in entered:
        part = history.PhaseRun("configured", outcome, seconds, attempts=1)
        found.append(Run("up", AT, "healthy", phases=[history.PhaseRun("launched", "holds"), part]))
    (summary,) = summarise(found)
    assert (summary.phase, summary.entered, summary.failed, summary.median_s) == ("configured", 5, 1, 3.5)


# ---- what is alive


def test_the_last_command_is_at_work_while_its_process_runs(terminal: Terminal) -> None:
    now = timestamp(datetime.now(UTC))
    terminal.write(begin(pid=os.getpid(), at=now), begin(pid=os.getpid(), at=now), of("phase.started", attempt=1))
    first, second = terminal.runs()
    assert (first["outcome"], second["outcome"]) == ("broken-off", "at-work")
    assert second["phases"][0]["outcome"] == "at-work"
    assert "at work" in terminal.type("history").stdout


@pytest.mark.parametrize(
    ("pid", "at"),
    [(NOBODY, AT), (os.getpid(), "2001-01-01T00:00:00.000Z"), (os.getpid(), "soon")],
    ids=["gone", "another", "no-time"],
)
def test_a_process_that_is_gone_or_another_is_not_at_work(terminal: Terminal, pid: int, at: str) -> None:
    terminal.write(begin(pid=pid, at=at))
    assert [run["outcome"] for run in terminal.runs()] == ["broken-off"]


# ---- as a user types it


def test_no_workspace_is_an_error(terminal: Terminal) -> None:
    assert terminal.type("history").exit_code == 4
    assert json.loads(terminal.type("history --json").stdout)["error"]["kind"] == "not-found"


def test_history_tells_what_really_happened(terminal: Terminal) -> None:
    terminal.driver.refuse_pull = {"gate": "received unexpected HTTP status: 503 Service Unavailable"}
    terminal.type("up")
    terminal.driver.refuse_pull = {}
    terminal.type("up --to running")
    terminal.type("reset")
    terminal.type("stop")
    failed, done, reset, stop = terminal.runs()
    assert [run["outcome"] for run in (failed, done, reset, stop)] == ["failed", "done", "done", "done"]
    assert (failed["exit_code"], failed["phase"], done["phase"]) == (75, "configured", "running")
    assert failed["error"]["kind"] == "registry-unavailable"
    pulled = failed["phases"][-1]
    assert (pulled["phase"], pulled["outcome"], pulled["attempts"], pulled["retries"]) == (
        "images-pulled", "failed", 1, 2,
    )  # fmt: skip
    assert "503" in pulled["retry_reason"]
    assert {part["phase"]: (part["outcome"], part["attempts"]) for part in done["phases"]} == {
        "launched": ("holds", 0), "configured": ("holds", 0), "images-pulled": ("completed", 2),
        "running": ("completed", 1),
    }  # fmt: skip
    assert [(part["phase"], part["outcome"]) for part in reset["phases"]] == [("running", "left")]


def test_history_for_people_has_a_line_a_command_and_a_line_a_phase_newest_last(terminal: Terminal) -> None:
    terminal.write(
        begin(),
        of("phase.started", attempt=1),
        of("phase.completed", duration_s=61.0),
        of("phase.started", "configured", attempt=3),
        of("phase.retry", "configured", reason="reset by peer", attempt=1, attempts=6, delay_s=1.0),
        of("phase.failed", "configured", kind="transient", message="no\nanswer"),
        {"event": "warning", "at": AT, "message": "mind the gap"},
        end(outcome="failed", code=75, duration_s=75.25),
        begin("up", "launched"),
        of("phase.skipped"),
        end(duration_s=0.04),
    )
    assert terminal.type("history").stdout.splitlines() == [
        "2026-11-03 10:00:00Z  up: failed, exit code 75, 1 min 15 s",
        "    launched       completed in 1 min 1 s",
        "    configured     failed at attempt 3 after 1 retries (the last because: reset by peer): no answer",
        "    warning: mind the gap",
        "2026-11-03 10:00:00Z  up --to launched: done, exit code 0, 0.0 s",
        "    launched       holds",
        "",
        "in all 2 commands:",
        "                    entered  failed   median",
        "    launched              1       0   1 min 1 s",
        "    configured            1       1   -",
    ]


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        ("2026-11-03T12:00:00+02:00", "2026-11-03 10:00:00Z"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+"),
        ("soon", "soon"),
        (None, ""),
    ],
)
def test_times_are_utc_and_what_is_none_is_shown_as_it_is(terminal: Terminal, at: Any, shown: str) -> None:
    terminal.write(begin(at=at), end())
    assert terminal.type("history").stdout.startswith(f"{shown:<20}  up: done")


def test_an_error_without_a_phase_is_told_on_the_command_s_line(terminal: Terminal) -> None:
    terminal.write(begin(), end(outcome="failed", code=3, error={"message": "needs a new VM"}))
    assert terminal.type("history").stdout.splitlines()[0].endswith("failed, exit code 3, 9.5 s, needs a new VM")


def test_the_last_commands_are_shown_and_all_are_summed_up(terminal: Terminal) -> None:
    one = [begin(), of("phase.started", attempt=1), of("phase.completed", duration_s=1.0), end()]
    terminal.write(*(one * 12))
    assert len(terminal.runs()) == 10
    assert len(terminal.runs("-l 3")) == 3
    assert len(terminal.runs("--last 0")) == 12
    shown = terminal.type("history --last 1").stdout.splitlines()
    assert shown[0].startswith("(11 earlier commands")
    assert shown[-1].split() == ["launched", "12", "0", "1.0", "s"]
    assert terminal.type("history --last=-1").exit_code == 2


def test_what_a_guest_said_cannot_steer_the_terminal_nor_flood_it(terminal: Terminal) -> None:
    message = f"\x1b[2J\u202e{'x' * 5000}"
    terminal.write(begin(), of("phase.failed", kind="transient", message=message), end(outcome="failed", code=75))
    shown = terminal.type("history").stdout
    assert shown.isprintable() or set(filter(lambda char: not char.isprintable(), shown)) == {"\n"}
    assert max(map(len, shown.splitlines())) < 400
    assert terminal.runs()[0]["phases"][0]["reason"] == message


def test_a_killed_up_is_told_as_broken_off(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.type("up --to launched")
    whole = terminal.journal.read_bytes()
    terminal.type("up")
    written = terminal.journal.read_bytes()
    cut = written.index(b"\n", written.index(b'"phase":"images-pulled"', len(whole)))
    terminal.journal.write_bytes(written[:cut] + b'\n{"event":"phase.comp')
    monkeypatch.setattr(history, "_is_alive", lambda _run: False)  # here it is this process
    killed = terminal.runs()[-1]
    assert (killed["outcome"], killed["phases"][-1]["outcome"]) == ("broken-off", "broken-off")
    terminal.type("up")
    assert [run["outcome"] for run in terminal.runs()] == ["done", "broken-off", "done"]


def test_a_command_that_failed_outside_a_phase_is_told(terminal: Terminal) -> None:
    terminal.type("up")

    def cut(call: str, _moment: str) -> None:
        if call == "find":
            raise GuestUnreachable("cut off")

    terminal.driver.interfere = cut
    terminal.type("up")
    assert (terminal.runs()[-1]["outcome"], terminal.runs()[-1]["exit_code"]) == ("failed", 75)


def test_an_unreadable_journal_is_no_empty_history(terminal: Terminal) -> None:
    terminal.journal.mkdir(parents=True)
    result = terminal.type("history")
    assert result.exit_code == 69
    assert str(terminal.journal) in result.stderr


# ---- as a picture


def test_a_launch_remembers_where_the_guest_s_boot_took_its_time(terminal: Terminal) -> None:
    terminal.type("up")
    told = [entry for entry in terminal.entries() if entry["event"] == "guest.stages"]
    assert len(told) == 1
    assert (told[0]["phase"], told[0]["uptime_s"]) == ("launched", 0.004)
    assert told[0]["stages"][0] == {"name": "kernel", "start_s": 0.0, "end_s": 0.001}
    terminal.type("up")
    assert len([entry for entry in terminal.entries() if entry["event"] == "guest.stages"]) == 1


def test_a_guest_that_tells_nonsense_of_its_boot_is_launched_all_the_same(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "BOOT", {"uptime_s": "long", "stages": [{"name": "\x1b[2J"}]})
    assert terminal.type("up --to launched").exit_code == 0
    assert not [entry for entry in terminal.entries() if entry["event"] == "guest.stages"]


def test_plot_draws_the_last_up(terminal: Terminal, tmp_path: Path) -> None:
    terminal.driver.refuse_pull = {"gate": "received unexpected HTTP status: 503 Service Unavailable"}
    terminal.type("up")
    terminal.type("stop")
    told = terminal.type("history --plot run.svg")
    assert told.exit_code == 0
    assert re.fullmatch(r"run.svg shows `up` \(2\d{3}-.*Z, .* s\): failed\n", told.stdout)
    words = "".join(parsed((tmp_path / "run.svg").read_text(encoding="utf-8")).itertext())
    for part in ("polis up, workspace polis: failed", "modules-final", "images-pulled", "503 Service Unavailable"):
        assert part in words
    before = terminal.journal.read_bytes()
    assert terminal.type("history --plot run.html").exit_code == 0
    assert terminal.journal.read_bytes() == before
    assert "polis up, workspace polis: failed" in (tmp_path / "run.html").read_text(encoding="utf-8")


def test_plot_with_json_tells_the_figures(terminal: Terminal, tmp_path: Path) -> None:
    terminal.write(begin(), of("phase.skipped"), end(), begin("reset"), end("reset", duration_s=2.0))
    document = json.loads(terminal.type("history --json --plot run.svg --run 2").stdout)
    assert (document["schema"], document["file"], document["command"]) == (1, "run.svg", "up")
    assert [row["phase"] for row in document["rows"]] == ["launched"]
    assert (tmp_path / "run.svg").exists()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("--plot run.png", 2),
        ("--plot run.svg --run 3", 4),
        ("--plot run.svg --run 0", 2),
        ("--run 1", 2),
        ("--force", 2),
    ],
)
def test_what_cannot_be_drawn_leaves_no_file(terminal: Terminal, tmp_path: Path, options: str, code: int) -> None:
    terminal.write(begin(), end(), begin("reset"), end("reset"))
    assert terminal.type(f"history {options}").exit_code == code
    assert not list(tmp_path.glob("run*"))


def test_plot_of_no_workspace_is_an_error(terminal: Terminal, tmp_path: Path) -> None:
    refused = terminal.type("history --plot run.svg")
    assert refused.exit_code == 4
    assert "there is no workspace polis" in refused.stderr
    assert not list(tmp_path.glob("run*"))


def test_plot_keeps_a_file_of_somebody_else(terminal: Terminal, tmp_path: Path) -> None:
    terminal.write(begin(), end())
    target = tmp_path / "run.svg"
    target.write_text("<svg/>")
    refused = terminal.type("history --plot run.svg")
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert target.read_text() == "<svg/>"
    assert terminal.type("history --plot run.svg --force").exit_code == 0
    assert terminal.type("history --plot run.svg").exit_code == 0
