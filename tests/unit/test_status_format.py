"""`polis status --format` for prompts, and `--watch`."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from polis import assembly
from polis.cli import watching
from polis.cli.globals import hoist
from polis.cli.status import FIELDS, fill, parse
from polis.errors import GuestUnreachable, PolisError
from polis.status import Status
from tests import typed
from tests.simulated import SimulatedDriver


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimulatedDriver:
    simulated = SimulatedDriver(path=tmp_path / "world.json")
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: simulated)
    return simulated


def run(*words: str) -> Any:
    return typed.run(words)


@pytest.mark.usefixtures("driver")
def test_a_template_is_filled_in() -> None:
    before = run("status", "--format", "{workspace}|{phase}|{target}|{pending}|{driver}|{state}|{agent}|{error}|{next}")
    assert before.stdout == ("polis|absent|healthy|launched,configured,images-pulled,running,healthy|||||polis up\n")
    run("up", "-q")
    assert run("status", "--format", "{{{phase}}} {driver} {state}").stdout == "{healthy} simulated running\n"
    assert run("status", "--format", "").stdout == "\n"
    assert run("status", "--check", "--format", "x").exit_code == 0


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    "template",
    ["{0}", "{}", "{nonsense}", "{phase.__class__}", "{phase[0]}", "{phase!r}", "{phase:>9}", "{", "}", "{phase"],
)
def test_nothing_but_plain_names_is_taken(template: str) -> None:
    result = run("status", "--format", template)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --format: ")
    assert "phase, target" in result.stderr or "braces" in result.stderr
    assert result.stdout == ""


@pytest.mark.usefixtures("driver")
def test_the_fields_are_all_filled() -> None:
    for name in FIELDS:
        assert run("status", "--format", f"<{{{name}}}>").exit_code == 0


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize("words", [["--format", "x", "--json"], ["--watch", "--check"]])
def test_options_that_contradict_each_other_are_refused(words: list[str]) -> None:
    assert run("status", *words).exit_code == 2
    assert json.loads(run("status", *words, "--json").stdout)["exit_code"] == 2


def test_what_a_guest_or_record_says_cannot_steer_the_prompt(
    driver: SimulatedDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.refuse_pull = {"gate": "manifest \x1b[2Junknown\nnext: rm"}
    monkeypatch.setenv("POLIS_RETRY", "{attempts: 1}")
    run("up", "-q")
    shown = run("status", "--format", "{error}").stdout
    assert "\x1b" not in shown
    assert shown.count("\n") == 1


def test_a_field_is_one_line_whatever_the_record_says() -> None:
    seen = Status(
        {
            **dict.fromkeys(("workspace", "phase", "target"), "x"),
            "pending": [],
            "instance": None,
            "agent": None,
            "last_error": {"message": "one\ntwo"},
        },
        (),
        "next",
    )
    assert fill(parse("{error}|{next}|{agent}"), seen) == "one two|next|"


def ended(signal: str = "SIGINT", after: int = 1) -> Callable[[float], None]:
    """Return a sleep that is interrupted the n-th time."""
    left = iter(range(after - 1))

    def sleep(_seconds: float) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt(signal)

    return sleep


def status(**changed: Any) -> Status:
    return Status({"phase": "absent", **changed}, (), "")


class Seen:
    def __init__(self) -> None:
        self.all: list[Status | PolisError] = []

    def show(self, seen: Status | PolisError) -> None:
        self.all.append(seen)


def test_a_look_that_fails_is_shown_and_ends_nothing() -> None:
    answers: Iterator[Any] = iter([status(), GuestUnreachable("no answer"), status(phase="healthy")])

    def look() -> Status:
        answer = next(answers)
        if isinstance(answer, PolisError):
            raise answer
        assert isinstance(answer, Status)
        return answer

    seen = Seen()
    assert watching.watch(look, 1, seen, sleep=ended(after=3)) == 130
    assert [type(each).__name__ for each in seen.all] == ["Status", "GuestUnreachable", "Status"]


def test_the_signal_decides_on_the_exit_code_and_the_pause_is_the_one_asked_for() -> None:
    assert watching.watch(status, 1, Seen(), sleep=ended("SIGTERM")) == 143
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        raise KeyboardInterrupt("SIGINT")

    watching.watch(status, 7, Seen(), sleep=sleep)
    watching.watch(status, float("inf"), Seen(), sleep=sleep)
    assert slept == [7, watching.LIMIT]


def test_lines_tell_only_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = watching.Lines(lambda seen: seen.document["text"], clock=lambda: "12:00:00")
    for text in ("phase      a\nnext       up", "phase      a\nnext       up", "phase      b"):
        lines.show(status(text=text))
    lines.show(GuestUnreachable("no\nanswer"))
    assert capsys.readouterr().out.splitlines() == [
        "12:00:00  phase      a",
        "12:00:00  next       up",
        "12:00:00  phase      b",
        "12:00:00  next       up  (no more)",
        "12:00:00  error      no answer",
        "12:00:00  hint       run the command again: it goes on from here",
        "12:00:00  phase      b  (no more)",
    ]


def test_documents_are_one_a_line_and_only_changes(capsys: pytest.CaptureFixture[str]) -> None:
    documents = watching.Documents()
    for seen in (status(), status(), GuestUnreachable("gone"), GuestUnreachable("gone"), status(phase="healthy")):
        documents.show(seen)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("phase") for line in lines] == ["absent", None, "healthy"]
    assert lines[1]["exit_code"] == 75


def test_the_screen_is_drawn_over_and_never_scrolls(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    screen = watching.Screen(lambda seen: seen.document["text"], clock=lambda: "12:00:00", size=lambda: (20, 8))
    screen.show(status(text="\n".join(f"line {n} {'漢' * 40}\x07" for n in range(20))))
    drawn = out.getvalue()
    rows = drawn.replace("\x1b[2J\x1b[H", "").replace("\x1b[J", "").replace("\x1b[K", "").splitlines()
    assert len(rows) <= 7
    assert max(cell_len(row) for row in rows) <= 19
    assert rows[-1].startswith("… 1")
    assert "\x07" not in drawn
    screen.show(status(text="short"))
    assert out.getvalue().removeprefix(drawn).startswith("\x1b[H12:00:00")
    assert out.getvalue().endswith("short\x1b[K\n\x1b[J")


def test_watching_ends_with_the_signal_s_code(driver: SimulatedDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching.watch, "__kwdefaults__", {"sleep": ended()})
    result = run("status", "--watch")
    assert result.exit_code == 130
    assert "phase      absent" in result.stdout
    assert result.stderr == ""
    monkeypatch.setattr(watching.watch, "__kwdefaults__", {"sleep": ended()})
    assert json.loads(run("status", "--watch", "5", "--json").stdout)["phase"] == "absent"
    monkeypatch.setattr(watching.watch, "__kwdefaults__", {"sleep": ended()})
    assert run("status", "--watch", "--format", "{phase}").stdout.endswith("  absent\n")


def test_the_value_of_watch_may_be_left_out() -> None:
    assert hoist(["status", "--watch"]) == ["status", "--watch=2"]
    assert hoist(["status", "--watch", "--json"]) == ["--json", "status", "--watch=2"]
    assert hoist(["status", "--watch", "5"]) == ["status", "--watch", "5"]
    assert hoist(["exec", "watch", "--watch"]) == ["exec", "watch", "--watch"]
