"""What somebody may type that no range or type refuses: told in words, with the right code, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from polis import __main__, assembly, log, paths
from polis.cli.globals import hoist, verbosity
from polis.errors import HostUnsuitable
from polis.logs import own
from tests.simulated import SimulatedDriver
from tests.typed import Typist

LONG = "x" * 300


@pytest.fixture
def typist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typist:
    simulated = SimulatedDriver(path=tmp_path / "world.json")
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: simulated)
    return Typist(simulated)


@pytest.mark.parametrize(
    "line",
    [
        "status --watch=nan",
        "up --wait=nan",
        f"history --plot {LONG}.svg",
        "history --plot x.svg --run 99999999999999999999",
        f"graph -o {LONG}.svg",
        f"config init --in {LONG}",
    ],
)
def test_it_is_a_matter_of_usage(typist: Typist, line: str) -> None:
    assert typist.type(line).code == 2


def test_a_configuration_file_with_an_impossible_name_is_no_file(typist: Typist) -> None:
    answer = typist.type(f"--config {LONG} status")
    assert answer.code == 78
    assert "File name too long" in answer.stderr


@pytest.mark.parametrize(
    ("typed", "told"), [("status -vv", 2), ("-qv status", 1), ("status -vqv", 2), ("exec -v ls -vv", 1), ("status", 0)]
)
def test_flags_of_one_letter_may_be_typed_in_one_word(typed: str, told: int) -> None:
    assert verbosity(hoist(typed.split())) == told


def test_flags_in_one_word_are_accepted_behind_the_command(typist: Typist) -> None:
    assert typist.type("status -vv").code == 0
    assert typist.type("status -qv").code == 0


def test_the_traceback_of_a_bug_is_printed_for_two_letters_in_one_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("polis.paths.find", broken)
    monkeypatch.setattr("sys.argv", ["polis", "status", "-vv"])
    with pytest.raises(SystemExit):
        __main__.main()
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [HostUnsuitable("no such driver"), KeyboardInterrupt(), RuntimeError("a bug")])
def test_a_command_that_ended_before_it_began_anything_leaves_nothing(typist: Typist, ending: BaseException) -> None:
    typist.fail("find", lambda: ending)
    with contextlib.suppress(RuntimeError):  # what the last line of defence would tell
        typist.type("up")
    assert not paths.find().workspace("polis").exists()
    typist.mend()
    assert typist.type("up").code == 0


def test_what_was_there_before_stays(typist: Typist) -> None:
    typist.type("up")
    typist.fail("find", lambda: HostUnsuitable("no such driver"))
    assert typist.type("up").code == 69
    assert (paths.find().workspace("polis") / "state.json").exists()


def test_a_line_of_the_log_that_is_nested_too_deep_is_passed_over(tmp_path: Path) -> None:
    good = json.dumps({"event": "phase.started", "phase": "launched"})
    lines = ['{"event": "x", "deep": ' + "[" * depth + "]" * depth + "}" for depth in range(900, 1000)]
    (tmp_path / log.FILE).write_text("\n".join([*lines, good, ""]))
    told: list[str] = []
    own.read(tmp_path, 500, told.append)
    assert "phase.started" in told[-1]
