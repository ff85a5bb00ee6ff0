"""`polis graph`: the machine as it is wired, and the workspace in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import transitions
from hypothesis import given, settings
from hypothesis import strategies as st

from polis import assembly, machine
from polis.diagram import Diagram
from polis.errors import DriverMissing
from polis.phase import ORDER, Phase
from polis.pictures import drawing, mermaid
from polis.pictures import graph as pictured
from tests.simulated import SimulatedDriver
from tests.typed import run
from tests.unit.test_pictures import parsed

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimulatedDriver:
    found = SimulatedDriver(path=tmp_path / "world.json")
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: found)
    monkeypatch.setenv("POLIS_RETRY", "{attempts: 2, base: 0.001, cap: 0.001}")
    return found


def typed(line: str) -> Any:
    return run(line.split())


# ---- the transitions are the machine's


def test_the_arrows_are_those_that_a_real_machine_is_wired_with(monkeypatch: pytest.MonkeyPatch) -> None:
    wired: list[tuple[str, str, str]] = []
    add = transitions.Machine.add_transition

    def remember(one: transitions.Machine, trigger: str, source: str, dest: str, **others: Any) -> None:
        wired.append((trigger, source, dest))
        add(one, trigger, source, dest, **others)

    with monkeypatch.context() as patched:
        patched.setattr(transitions.Machine, "add_transition", remember)
        model = machine.Machine.__new__(machine.Machine)._wire(Phase.LAUNCHED)
    assert model.state == "launched"
    drawn = Diagram("polis", Phase.ABSENT).arrows
    assert sorted((arrow.trigger, arrow.source.value, arrow.dest.value) for arrow in drawn) == sorted(wired)
    assert len(wired) == 53


def test_every_move_of_the_design_is_there() -> None:
    moves = Diagram("polis", Phase.ABSENT).moves()
    assert {kind for kinds in moves.values() for kind in kinds} == {
        "advance", "recognise", "retreat", "fall", "destroy", "tidy", "wake", "restore",
    }  # fmt: skip
    assert moves[Phase.HEALTHY, Phase.CONFIGURED] == ["fall"]
    assert moves[Phase.ABSENT, Phase.LAUNCHED] == ["advance", "recognise"]
    assert moves[Phase.LAUNCHED, Phase.ABSENT] == ["retreat", "fall", "destroy"]


# ---- Mermaid

IDENTIFIER = "[a-z_]+"
GRAMMAR = [
    r"%% [\w .]+",
    r"stateDiagram-v2",
    r"    direction LR",
    rf'    state "[a-z-]+" as {IDENTIFIER}',
    rf"    (\[\*\]|{IDENTIFIER}) --> {IDENTIFIER}( : [a-z /]+)?",
    rf"    classDef {IDENTIFIER} [\w:#,\- ]+",
    rf"    class {IDENTIFIER} {IDENTIFIER}",
    rf"    note right of {IDENTIFIER} : ([\w .,()/'-]|#\d+;)+",
]
"""The lines of Mermaid's stateDiagram-v2 that we write; its own parser took them."""


def told(**changes: Any) -> Diagram:
    return Diagram("polis", Phase.CONFIGURED, **changes)


def test_mermaid_names_each_phase_by_an_alias_and_marks_the_current_one() -> None:
    text = mermaid.render(told())
    assert '    state "images-pulled" as images_pulled\n' in text
    assert "    [*] --> absent\n" in text
    assert "    configured --> images_pulled : advance / recognise\n" in text
    assert "    class configured current\n" in text
    assert "note" not in text


def test_mermaid_shows_drift_and_the_last_error() -> None:
    text = mermaid.render(told(drift={Phase.RUNNING: "gate: exited"}, failed=Phase.HEALTHY, error="x is sick"))
    assert "    class running lost\n    note right of running : no longer holds, gate#58; exited\n" in text
    assert "    class healthy failed\n    note right of healthy : failed last time, x is sick\n" in text


@settings(deadline=None)
@given(st.text(), st.text())
def test_no_text_becomes_a_part_of_the_language(reason: str, error: str) -> None:
    text = mermaid.render(told(drift={Phase.RUNNING: reason}, failed=Phase.HEALTHY, error=error))
    for line in text.removesuffix("\n").split("\n"):
        assert any(re.fullmatch(form, line, re.ASCII) for form in GRAMMAR), line
    assert len(text) < 10_000


# ---- SVG


@pytest.mark.parametrize("phase", ORDER)
def test_the_drawing_marks_the_current_phase_and_draws_each_pair_once(phase: Phase) -> None:
    found = Diagram("polis", phase)
    picture = parsed(drawing.render(pictured.draw(found)))
    boxes = [each.get("class", "").split() for each in picture.iter(f"{SVG}rect")][1:]
    assert [ORDER[place] for place, kinds in enumerate(boxes) if "here" in kinds] == [phase]
    ways = [each.findtext(f"{SVG}title") for each in picture.iter(f"{SVG}path") if "way" in each.get("class", "")]
    assert sorted(str(way) for way in ways) == sorted(
        f"{source} to {dest}: {', '.join(kinds)}" for (source, dest), kinds in found.moves().items()
    )


@settings(deadline=None)
@given(st.text(), st.text())
def test_the_drawing_is_well_formed_whatever_went_wrong(reason: str, error: str) -> None:
    found = told(drift={Phase.RUNNING: reason}, failed=Phase.HEALTHY, error=error)
    text = drawing.render(pictured.draw(found))
    picture = parsed(text)
    assert len(text) < 60_000
    assert [each for each in picture.iter(f"{SVG}rect") if "lost" in each.get("class", "")]


# ---- as a user types it


def test_without_a_workspace_absent_is_current(driver: SimulatedDriver) -> None:
    result = typed("graph")
    assert result.exit_code == 0
    assert "    class absent current" in result.stdout
    document = json.loads(typed("graph --json").stdout)
    assert (document["schema"], document["workspace"], document["phase"]) == (1, "polis", "absent")
    assert document["states"] == [phase.value for phase in ORDER]
    assert {"trigger": "fall_to_launched", "source": "healthy", "dest": "launched"} in document["transitions"]
    assert (document["drift"], document["last_error"]) == ([], None)
    assert not driver.launches


def test_without_a_driver_there_is_still_a_graph(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise DriverMissing("there is no QEMU")

    monkeypatch.setattr(assembly, "driver", missing)
    assert "class absent current" in typed("graph").stdout
    (home / "config" / "workspaces" / "polis").mkdir(parents=True)
    assert typed("graph").exit_code == 69


def test_the_current_phase_is_the_one_that_holds(driver: SimulatedDriver) -> None:
    typed("up")
    assert json.loads(typed("graph --json").stdout)["phase"] == "healthy"
    with driver.change() as now:
        now["containers"].clear()
    document = json.loads(typed("graph --json").stdout)
    assert document["phase"] == "images-pulled"
    assert document["drift"][0]["phase"] == "running"
    assert "class running lost" in typed("graph").stdout


def test_the_last_error_is_shown(driver: SimulatedDriver) -> None:
    driver.refuse_pull = {"gate": "manifest unknown"}
    typed("up")
    document = json.loads(typed("graph --json").stdout)
    assert document["phase"] == "configured"
    assert document["last_error"]["phase"] == "images-pulled"
    assert "class images_pulled failed" in typed("graph").stdout


@pytest.mark.usefixtures("driver")
def test_the_file_s_name_says_what_is_written(tmp_path: Path) -> None:
    assert typed("graph -o machine.svg").stdout == "machine.svg shows workspace polis: absent\n"
    parsed((tmp_path / "machine.svg").read_text())
    assert typed("graph --output machine.mmd").exit_code == 0
    assert (tmp_path / "machine.mmd").read_text() == typed("graph").stdout
    assert typed("graph --format svg").stdout == (tmp_path / "machine.svg").read_text()
    assert json.loads(typed("graph --json -o machine.svg").stdout)["file"] == "machine.svg"


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    "options", ["-o machine.png", "--format svg -o machine.mmd", "-o no/machine.svg", "--format dot"]
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, options: str) -> None:
    assert typed(f"graph {options}").exit_code == 2
    assert not list(tmp_path.glob("machine*"))


@pytest.mark.usefixtures("driver")
def test_a_file_of_somebody_else_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "machine.mmd"
    target.write_text("stateDiagram-v2\n")
    assert typed("graph -o machine.mmd").exit_code == 2
    assert target.read_text() == "stateDiagram-v2\n"
    assert typed("graph -o machine.mmd --force").exit_code == 0
    assert typed("graph -o machine.mmd").exit_code == 0
