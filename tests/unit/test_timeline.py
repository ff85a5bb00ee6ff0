"""When things happened in a command: what a journal tells, and what it cannot make anyone believe."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polis import bootstages, timeline
from polis.durations import readable
from polis.timeline import MOST_ROWS, MOST_SPANS, TEXT_LIMIT, Part, Row, Span, Timeline

BEGAN = datetime(2026, 11, 3, 10, 0, 0, tzinfo=UTC)
NOBODY = 2**31 - 2
"""A process id that no kernel gives out."""

DATA = Path(__file__).parents[1] / "data" / "pictures"

Entry = dict[str, Any]


def journal(name: str) -> list[Entry]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]


def of(event: str, at: float, phase: str = "launched", **values: Any) -> Entry:
    moment = (BEGAN + timedelta(seconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"event": event, "at": moment, "phase": phase, **values}


def begin(command: str = "up", at: float = 0.0) -> Entry:
    return of("command.started", at) | {"command": command, "target": "healthy", "pid": NOBODY}


def end(at: float, command: str = "up", outcome: str = "done", **values: Any) -> Entry:
    usual = {"command": command, "outcome": outcome, "exit_code": 0, "duration_s": at, "error": None}
    return {**of("command.ended", at, "healthy"), **usual, **values}


def found(*entries: object, back: int = 1, now: float = 0.0) -> Timeline:
    answer = timeline.find("polis", entries, back, BEGAN + timedelta(seconds=now))
    assert answer is not None
    return answer


def spans(row: Row) -> list[tuple[str, float, float]]:
    return [(span.kind, span.start_s, span.end_s) for span in row.spans]


def retry(at: float, delay: float, phase: str = "images-pulled") -> Entry:
    return of("phase.retry", at, phase, reason="503", attempt=1, attempts=6, delay_s=delay)


# ---- where things are


def test_attempts_and_waits_follow_each_other_in_a_phase() -> None:
    told = found(
        begin(),
        of("phase.started", 1, "images-pulled", attempt=2),
        retry(4, 2),
        retry(9, 5),
        of("phase.completed", 20, "images-pulled", duration_s=19.0),
        end(21),
    )
    (row,) = told.rows
    assert spans(row) == [
        ("failed", 1, 4),
        ("waited", 4, 6),
        ("failed", 6, 9),
        ("waited", 9, 14),
        ("tried", 14, 20),
    ]
    assert (row.phase, row.outcome, row.attempt, row.seconds) == ("images-pulled", "completed", 2, 19.0)
    assert [(gap.start_s, gap.end_s) for gap in told.gaps] == [(0, 1), (20, 21)]
    assert (told.total_s, told.share(row.seconds)) == (21.0, 19 / 21)


def test_an_interrupted_wait_ends_where_it_was_interrupted() -> None:
    told = found(
        begin(),
        of("phase.started", 0, "images-pulled"),
        retry(2, 60),
        of("phase.failed", 5, "images-pulled", kind="interrupted", message="interrupted", duration_s=5.0),
        end(5, outcome="interrupted"),
    )
    (row,) = told.rows
    assert spans(row) == [("failed", 0, 2), ("waited", 2, 5)]
    assert (row.outcome, row.end_s) == ("interrupted", 5)


def test_a_failure_ends_the_last_attempt() -> None:
    failed = of("phase.failed", 8, "images-pulled", kind="registry-unavailable", message="503", duration_s=8.0)
    (row,) = found(begin(), of("phase.started", 0, "images-pulled"), retry(3, 1), failed, end(8, outcome="failed")).rows
    assert spans(row)[-1] == ("failed", 4, 8)
    assert (row.outcome, row.reason) == ("failed", "503")


def test_a_failure_is_drawn_where_it_happened_even_if_it_names_another_phase() -> None:
    failed = of("phase.failed", 8, "healthy", kind="unhealthy", message="sick", duration_s=8.0)
    (row,) = found(begin(), of("phase.started", 0, "running"), failed, end(8, outcome="failed")).rows
    assert (row.phase, row.outcome) == ("running", "failed")


def test_what_is_left_began_as_long_ago_as_it_took() -> None:
    told = found(
        begin("reset"),
        of("phase.left", 4, "healthy", duration_s=1.5),
        of("phase.left", 9, "running", duration_s=60.0),
        end(10, "reset"),
    )
    assert [(row.phase, row.outcome, row.start_s, row.end_s) for row in told.rows] == [
        ("healthy", "left", 2.5, 4),
        ("running", "left", 4, 9),
    ]


def test_what_holds_is_a_moment_and_no_time_of_its_own() -> None:
    told = found(begin(), of("phase.skipped", 1), of("phase.skipped", 1.5, "configured"), end(2))
    assert [(row.phase, row.outcome, row.seconds) for row in told.rows] == [
        ("launched", "holds", 0.0),
        ("configured", "holds", 0.0),
    ]
    assert [(gap.start_s, gap.end_s) for gap in told.gaps] == [(0.0, 2.0)]


def test_a_killed_command_is_known_up_to_its_last_word() -> None:
    told = found(begin(), of("phase.started", 1), of("warning", 7) | {"message": "x"}, now=500)
    (row,) = told.rows
    assert (told.outcome, told.total_s, row.outcome, row.end_s) == ("broken-off", 7, "broken-off", 7)
    assert any("died without a word" in note for note in told.notes)


def test_a_command_at_work_goes_on_to_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polis.history._is_alive", lambda _run: True)
    told = found(begin(), of("phase.started", 1), now=50)
    (row,) = told.rows
    assert (told.outcome, told.total_s, row.outcome, spans(row)) == ("at-work", 50, "at-work", [("tried", 1, 50)])


def test_only_the_last_command_of_all_can_be_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polis.history._is_alive", lambda _run: True)
    assert found(begin(), of("phase.started", 1), begin("stop", 9), now=50).outcome == "broken-off"


def test_drift_is_told_with_the_phase_or_alone() -> None:
    drift = of("drift", 1, reason="the VM is off")
    (row,) = found(begin(), drift, of("phase.started", 1), of("phase.completed", 2, duration_s=1.0), end(2)).rows
    assert (row.outcome, row.drift) == ("completed", "the VM is off")
    (row,) = found(begin(), drift, end(2, outcome="failed")).rows
    assert (row.phase, row.outcome, row.drift) == ("launched", "drifted", "the VM is off")


# ---- the guest's own stages


BOOT: Entry = {"uptime_s": 10.0, "stages": [{"name": "kernel", "start_s": 0, "end_s": 3}]}


def test_the_guest_s_stages_lie_where_its_boot_was() -> None:
    told = found(begin(), of("phase.started", 5), of("guest.stages", 20, **BOOT), of("phase.completed", 22), end(22))
    (row,) = told.rows
    assert [(stage.name, stage.start_s, stage.end_s) for stage in row.stages] == [("kernel", 10, 13)]


def test_stages_of_before_the_command_are_cut() -> None:
    boot = {**BOOT, "stages": [*BOOT["stages"], {"name": "init", "start_s": 3, "end_s": 9}]}
    told = found(begin(), of("phase.started", 5), of("guest.stages", 12, **boot), of("phase.completed", 13), end(13))
    assert [(stage.name, stage.start_s, stage.end_s) for stage in told.rows[0].stages] == [("init", 5, 11)]


def test_stages_belong_to_a_phase_at_work_and_are_told_once() -> None:
    assert found(begin(), of("guest.stages", 20, **BOOT), end(20)).rows == []
    told = found(begin(), of("phase.started", 0), *[of("guest.stages", 20, **BOOT)] * 9, end(20))
    assert len(told.rows[0].stages) == 1


@pytest.mark.parametrize(
    "stage",
    [
        {"name": "of tomorrow", "start_s": 1, "end_s": 2},
        {"name": ["kernel"], "start_s": 1, "end_s": 2},
        {"name": "kernel", "start_s": 2, "end_s": 1},
        {"name": "kernel", "start_s": -1, "end_s": 1},
        {"name": "kernel", "start_s": 1, "end_s": 100},
        {"name": "kernel", "start_s": 1, "end_s": float("nan")},
        {"name": "kernel", "start_s": True, "end_s": 2},
        {"name": "kernel", "start_s": "1", "end_s": 2},
        {"name": "kernel", "end_s": 2},
        "kernel",
    ],
)
def test_a_stage_that_cannot_be_is_left_out(stage: object) -> None:
    good = {"name": "systemd", "start_s": 3, "end_s": 4}
    boot = bootstages.read({"uptime_s": 10, "stages": [stage, good]})
    assert boot is not None
    assert [each.name for each in boot.stages] == ["systemd"]


@pytest.mark.parametrize(
    "value",
    [None, [], {"uptime_s": 10}, {"uptime_s": -1, "stages": []}, {"uptime_s": 10, "stages": []},
     {"uptime_s": 10**400, "stages": BOOT["stages"]}, {"uptime_s": True, "stages": BOOT["stages"]}],
)  # fmt: skip
def test_a_boot_that_makes_no_sense_is_none(value: object) -> None:
    assert bootstages.read(value) is None


def test_a_guest_cannot_tell_without_end() -> None:
    boot = bootstages.read({"uptime_s": 10, "stages": [{"name": "kernel", "start_s": 0, "end_s": 1}] * 100_000})
    assert boot is not None
    assert len(boot.stages) == 1
    assert bootstages.read({"uptime_s": 10, "stages": [{}] * 1000 + BOOT["stages"]}) is None


# ---- which command


def test_the_nth_from_the_last_up_or_reset_is_found() -> None:
    commands = [
        begin(),
        end(1),
        begin("reset", 10),
        end(2, "reset"),
        begin("stop", 20),
        end(3, "stop"),
        begin(at=30),
        end(4),
    ]
    assert [found(*commands, back=back).total_s for back in (1, 2, 3)] == [4, 2, 1]
    assert timeline.find("polis", commands, 4, BEGAN) is None
    assert timeline.find("polis", [], 1, BEGAN) is None


def test_what_follows_the_end_of_a_command_is_not_its_own() -> None:
    assert found(begin(), of("phase.skipped", 1), end(2)).rows == found(
        begin(), of("phase.skipped", 1), end(2), begin("stop", 5), of("phase.left", 6), end(2, "stop")
    ).rows  # fmt: skip


# ---- what is not believed


def test_times_that_go_back_are_moved_and_that_is_said() -> None:
    told = found(begin(), of("phase.started", 5), of("phase.completed", -3600, duration_s=2.0), end(9))
    (row,) = told.rows
    assert (row.start_s, row.end_s, row.seconds) == (5, 5, 2.0)
    assert any("clock was set" in note for note in told.notes)
    assert not found(begin(), of("phase.started", 5), end(9)).notes


def test_times_beyond_the_command_s_own_are_moved() -> None:
    told = found(begin(), of("phase.started", 10**8), end(9, duration_s=4.0))
    assert (told.total_s, told.rows[0].start_s) == (4.0, 4.0)
    assert any("clock was set" in note for note in told.notes)


def test_there_is_no_more_than_can_be_drawn() -> None:
    flood = [of("phase.skipped", 1)] * 1000
    retries = [of("phase.started", 1, "images-pulled"), *[retry(1 + place, 0.1) for place in range(1000)]]
    told = found(begin(), *retries, *flood, end(2000))
    assert len(told.rows) == MOST_ROWS
    assert len(told.rows[0].spans) <= MOST_SPANS + 2
    assert any("left out" in note for note in told.notes)


def test_texts_are_one_bearable_line() -> None:
    failed = of("phase.failed", 1, kind="transient", message="a\n b" * 100_000)
    told = found(begin(), of("phase.started", 0), failed, end(1))
    assert len(told.rows[0].reason) == TEXT_LIMIT + 1
    assert "\n" not in told.rows[0].reason


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(exclude_categories=()), max_size=8),
    st.sampled_from(["up", "done", "failed", "launched", "healthy", "absent", "2026-11-03T10:00:07Z", "kernel"]),
)  # fmt: skip
KEYS = [
    "at", "command", "target", "pid", "outcome", "exit_code", "duration_s", "phase", "error", "attempt", "kind",
    "message", "reason", "delay_s", "uptime_s", "stages", "name", "start_s", "end_s",
]  # fmt: skip
KINDS = [
    "command.started", "command.ended", "phase.started", "phase.completed", "phase.skipped", "phase.left",
    "phase.failed", "phase.retry", "drift", "warning", "guest.stages", "of tomorrow",
]  # fmt: skip
VALUES = st.one_of(LEAVES, st.lists(LEAVES, max_size=2), st.dictionaries(st.sampled_from(KEYS), LEAVES, max_size=5))
SECONDS = st.floats(0, 1e6)
ENTRIES = st.one_of(
    st.builds(
        lambda kind, values: {"event": kind, **values},
        st.one_of(st.sampled_from(KINDS), VALUES),
        st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8),
    ),
    st.builds(
        lambda kind, at, phase, values: of(kind, at, phase, **values),
        st.sampled_from(KINDS),
        st.floats(-10, 1e6),
        st.sampled_from(["launched", "images-pulled", "healthy"]),
        st.fixed_dictionaries({}, optional={"delay_s": SECONDS, "duration_s": SECONDS, "reason": st.text()}),
    ),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(ENTRIES, max_size=15))
def test_everything_lies_within_the_command_whatever_the_journal_holds(entries: list[Entry]) -> None:
    told = timeline.find("polis", [begin(), *entries], 1, BEGAN + timedelta(seconds=5))
    if told is None:
        return
    assert told.total_s >= 0
    for row in told.rows:
        assert 0 <= row.start_s <= row.end_s <= told.total_s
        inside: list[Span | Part] = [*row.spans, *row.stages]
        for span in inside:
            assert row.start_s <= span.start_s <= span.end_s <= row.end_s
        assert all(one.end_s <= other.start_s for one, other in zip(row.spans, row.spans[1:], strict=False))
    for gap in told.gaps:
        assert 0 <= gap.start_s < gap.end_s <= told.total_s
    assert json.dumps(told.document(), allow_nan=False)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0.04, "0.0 s"), (9.5, "9.5 s"), (59.96, "1 min 0 s"), (75.2, "1 min 15 s"), (7384, "2 h 3 min")],
)
def test_durations_are_readable(seconds: float | None, words: str) -> None:
    assert readable(seconds) == words
